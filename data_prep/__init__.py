"""From Reddit dumps to token shards. Each module at this level is a command; most are a stage."""
