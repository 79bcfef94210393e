"""Building blocks of the corpus stages: ledger, inputs, readers, workers, engine, settings."""
