"""Comparison of corpora: one small model per corpus and seed, and their predictions."""
