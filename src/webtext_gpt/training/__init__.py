"""Training: the loop around the model, its optimizer, schedules and callbacks."""
