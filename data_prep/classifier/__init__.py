"""A linear classifier of texts by quality: labels, features, model, and scores of a corpus."""
