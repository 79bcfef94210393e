"""Near-duplicate documents: MinHash signatures, n-gram sets, candidates, clusters."""
