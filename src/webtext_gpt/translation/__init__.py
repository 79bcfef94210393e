"""Training of translation models: pairs of sentences, their batches, and the run."""
