"""Music as words: MIDI files and scores as text whose words are the tokens of a language model."""
