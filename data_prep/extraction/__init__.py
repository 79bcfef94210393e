"""Extraction: from a web page to clean text, or to the reason why there is none."""
