"""Zero-shot benchmarks, one per file."""
