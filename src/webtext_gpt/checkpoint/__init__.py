"""Checkpoints: their files, their parts under ZeRO, and the models loaded from them."""
