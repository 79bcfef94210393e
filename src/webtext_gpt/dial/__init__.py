"""Compute-optimal settings: `size=` and `budget=` of train.py, by laws fitted on a ladder of runs."""
