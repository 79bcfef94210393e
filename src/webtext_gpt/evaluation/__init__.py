"""Zero-shot evaluation: benchmarks, scoring, and tables beside the paper's figures."""
