"""Reddit submission dumps: decompression, decoding, and the rules for posts."""
