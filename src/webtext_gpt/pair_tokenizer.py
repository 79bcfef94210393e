"""Tokenizers of a translation model: one for both languages, or one for each."""

import tokenizers

from webtext_gpt.tokenizer import Tokenizer


class PairTokenizer(Tokenizer):
    """The tokenizer of a model's targets, and a second one of its sources.

    Args:
        source: tokenizer of the sources.
        target: tokenizer of the targets.
    """

    def __init__(self, source: Tokenizer, target: Tokenizer) -> None:
        super().__init__(tokenizers.Tokenizer.from_str(target.to_json()))
        self.source = source


def source_tokenizer(tokenizer: Tokenizer) -> Tokenizer:
    """Return the tokenizer of the sources: the targets' tokenizer, unless there are two."""
    return tokenizer.source if isinstance(tokenizer, PairTokenizer) else tokenizer
