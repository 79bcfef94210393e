"""Zero-shot benchmarks, one a file."""
