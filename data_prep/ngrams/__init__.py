"""8-grams of documents: hashing, Bloom filters, and the overlap with test sets."""
