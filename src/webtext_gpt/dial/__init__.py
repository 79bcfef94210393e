"""Compute-optimal settings: `size=` and `budget=` of train.py, by laws fitted on runs."""
