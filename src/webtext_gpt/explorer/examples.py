"""Texts that the explorer opens with."""

from collections.abc import Sequence

from webtext_gpt.tokenizer import EncodingError, Tokenizer

EXAMPLES = ("Return the list of all the files in the", "To be, or not to be", "the", "")


SENTENCES = ("A man is riding a bicycle.", "the", "")
"""For translation models, whose languages are not known."""


def example(tokenizer: Tokenizer, texts: Sequence[str] = EXAMPLES) -> str:
    """Return the first text that a tokenizer can encode."""
    for text in texts:
        try:
            tokenizer.encode(text)
        except EncodingError:
            continue
        return text
    return ""
