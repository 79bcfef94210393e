"""Translation of texts by an encoder-decoder, in batches of similar length."""

import math
from collections.abc import Callable, Iterator, Sequence

from webtext_gpt.data.pair_layout import source_ids
from webtext_gpt.errors import UserError
from webtext_gpt.generation.translation_beams import best_texts
from webtext_gpt.model.transformer import Transformer
from webtext_gpt.pair_tokenizer import source_tokenizer
from webtext_gpt.settings import number, whole_number
from webtext_gpt.tokenizer import Tokenizer

NUM_BEAMS = 5
LENGTH_PENALTY = 0.6
"""Exponent of GNMT's length penalty in Vaswani et al. 2017, section 6.1."""
EXTRA_TOKENS = 50
"""Tokens that a translation may have beyond `max_ratio` times those of its source (the same)."""


def translate(
    model: Transformer,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    *,
    num_beams: int = NUM_BEAMS,
    length_penalty: float = LENGTH_PENALTY,
    max_ratio: float = 1.0,
    batch_tokens: int = 8192,
    advance: Callable[[int], object] = lambda n: None,
) -> list[str]:
    """Return the translation of each text, as beam search finds it.

    A text's translation does not depend on the other texts. A blank text's is empty.

    Args:
        model: in evaluation mode.
        tokenizer: the model's.
        texts: one sentence each, of any number; white space around them is ignored.
        num_beams: texts kept at each step; 1 takes the most probable token at each.
        length_penalty: exponent of GNMT's length penalty; above 0 favors longer translations.
        max_ratio: a translation has at most `max_ratio` times the tokens of its source and
            `EXTRA_TOKENS` more, and no more than the model's context.
        batch_tokens: maximum tokens of the sources of a batch, padding included, times beams.
        advance: called after each batch with its number of texts.

    Raises:
        UserError: a setting is out of range, a text cannot be encoded or does not fit in the
            model's context; the message counts texts from 1.
    """
    whole_number("num_beams", num_beams, least=1)
    whole_number("batch_tokens", batch_tokens, least=1)
    number("length_penalty", length_penalty, least=0)
    number("max_ratio", max_ratio, least=0)
    block_size, of_sources = model.config.block_size, source_tokenizer(tokenizer)
    sources = encode_sources(of_sources, texts, block_size)
    found: dict[int, list[int]] = {}
    for rows in _batches([len(ids) for ids in sources], batch_tokens // num_beams):
        batch = [source_ids(sources[row], of_sources.end_of_text) for row in rows]
        limits = [min(block_size, math.ceil(max_ratio * len(s)) + EXTRA_TOKENS) for s in batch]
        best = best_texts(
            model,
            batch,
            limits,
            num_beams=num_beams,
            length_penalty=length_penalty,
            end_of_text=tokenizer.end_of_text,
        )
        found.update(zip(rows, best, strict=True))
        advance(len(rows))
    written = tokenizer.decode_batch(found.get(row, []) for row in range(len(texts)))
    return [text.strip() for text in written]


def encode_sources(tokenizer: Tokenizer, texts: Sequence[str], block_size: int) -> list[list[int]]:
    """Return the token ids of each text, without end-of-text; a blank text has none.

    Raises:
        UserError: a text cannot be encoded, or does not fit in `block_size` tokens with its end;
            the message counts texts from 1.
    """
    sources = []
    for place, text in enumerate(texts, start=1):
        try:
            ids = tokenizer.encode(text.strip())
        except UserError as error:
            raise UserError(f"text {place}: {error}") from error
        if len(ids) >= block_size:
            raise UserError(
                f"text {place} has {len(ids)} tokens, and with its end does not fit in the "
                f"model's context of {block_size}; divide it into sentences"
            )
        sources.append(ids)
    return sources


def _batches(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Yield indices of texts of similar length, the longest first; texts of length 0 are left out.

    A batch has at most `most` tokens with padding, or is a single text.
    """
    batch: list[int] = []
    for row in sorted((r for r, n in enumerate(lengths) if n), key=lambda r: -lengths[r]):
        if batch and (len(batch) + 1) * (lengths[batch[0]] + 1) > most:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
