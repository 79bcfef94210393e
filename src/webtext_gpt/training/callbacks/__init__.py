"""What happens beside the training loop: one callback a file."""
