"""Layout of the token sequences of a sentence pair, in training and in translation.

`<|endoftext|>` ends each source, begins the decoder's input, and is the last token to predict.
"""

from collections.abc import Sequence


def source_ids(ids: Sequence[int], end_of_text: int) -> list[int]:
    """Return the encoder's input: the source, then the end token."""
    return [*ids, end_of_text]


def decoder_input(ids: Sequence[int], end_of_text: int) -> list[int]:
    """Return the decoder's input: the begin token, then the target."""
    return [end_of_text, *ids]


def decoder_target(ids: Sequence[int], end_of_text: int) -> list[int]:
    """Return the token to predict at each position of `decoder_input`."""
    return [*ids, end_of_text]
