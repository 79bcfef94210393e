"""Texts that the explorer opens with."""

from webtext_gpt.tokenizer import EncodingError, Tokenizer

EXAMPLES = ("Return the list of all the files in the", "To be, or not to be", "the", "")


def example(tokenizer: Tokenizer) -> str:
    """Return the first example that a tokenizer can encode."""
    for text in EXAMPLES:
        try:
            tokenizer.encode(text)
        except EncodingError:
            continue
        return text
    return ""
