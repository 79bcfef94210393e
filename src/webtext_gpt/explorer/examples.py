"""Texts that the explorer opens with."""

from collections.abc import Sequence

from webtext_gpt.tokenizer import EncodingError, Tokenizer

EXAMPLES = ("Return the list of all the files in the", "To be, or not to be", "the", "")


SENTENCES = ("A man is riding a bicycle.", "the", "")
"""For translation models, whose languages are not known."""


def example(tokenizer: Tokenizer, texts: Sequence[str] = EXAMPLES, most: int | None = None) -> str:
    """Return the first text that a tokenizer can encode, into at most so many tokens."""
    for text in texts:
        try:
            n_tokens = len(tokenizer.encode(text))
        except EncodingError:
            continue
        if most is None or n_tokens <= most:
            return text
    return ""
