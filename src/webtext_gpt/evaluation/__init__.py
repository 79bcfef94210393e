"""Zero-shot evaluation: benchmarks, scoring, and comparison with the paper's figures."""
