"""Labelled examples: tasks, rows of files and of the hub, token sequences, batches."""
