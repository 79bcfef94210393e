"""From one web page to clean text, or to the reason why it has none."""
