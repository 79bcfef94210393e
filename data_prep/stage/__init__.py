"""What every corpus stage stands on: ledger, readers, workers, engine, settings."""
