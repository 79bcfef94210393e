"""Fine-tuning: the head, its data, training, metrics, prediction and the command."""
