"""From Reddit dumps to token shards: one module a stage, in the order of the corpus's making."""
