"""Which corpus is better: one small model per corpus and seed, and what they predict."""
