"""Near-duplicate documents: words, MinHash signatures, candidates, clusters."""
