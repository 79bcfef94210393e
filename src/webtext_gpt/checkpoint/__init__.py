"""Checkpoints: how they are stored, divided into parts, and loaded."""
