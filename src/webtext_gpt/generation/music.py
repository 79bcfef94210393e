"""Compose pieces with a model of music, under a grammar that keeps every piece valid."""

from collections.abc import Sequence
from typing import NamedTuple

from webtext_gpt.generation.decoding import generate
from webtext_gpt.generation.sampling import Sampling
from webtext_gpt.model import GPT
from webtext_gpt.music.grammar import grammar_of
from webtext_gpt.music.vocabulary import Encoding

SLIDES_PER_CONTEXT = 4
"""A full context loses this fraction of its tokens at once: on average an eighth of it is empty,
and all but a few of the tokens of a long piece use the cache."""


class Sample(NamedTuple):
    """The words that a model wrote after the given words."""

    words: list[str]
    is_ended: bool
    """Whether the model ended the piece, and not its maximum length."""


def compose(
    model: GPT,
    encoding: Encoding,
    given: Sequence[str],
    *,
    seeds: Sequence[int],
    max_new_tokens: int,
    sampling: Sampling | None = None,
    overflow: str = "slide",
) -> list[Sample]:
    """Continue a piece once for each seed, or begin one, as the grammar of the encoding allows.

    Args:
        model: in evaluation mode, with the encoding's vocabulary.
        encoding: the encoding.
        given: words of the piece so far; none begin a new piece.
        seeds: random seed of each sample.
        max_new_tokens: see `generate`.
        sampling: see `generate`.
        overflow: see `generate`.

    Raises:
        UserError: a setting is out of range, or the given words do not fit into the context, or
            are no music.
    """
    encoding.to_notes(given)  # refuses words that are not music
    tokenizer = encoding.tokenizer
    prompt = [tokenizer.end_of_text, *tokenizer.encode(" ".join(given))]
    grammars = [grammar_of(encoding) for _ in seeds]
    for grammar in grammars:
        for token in prompt[1:]:
            grammar.add(token)
    written = generate(
        model,
        [prompt] * len(seeds),
        max_new_tokens=max_new_tokens,
        sampling=sampling,
        seeds=seeds,
        finished=lambda row, token: grammars[row].add(token),
        overflow=overflow,
        allowed=lambda row: grammars[row].allowed(),
        slide_by=max(1, model.config.block_size // SLIDES_PER_CONTEXT),
    )
    samples = []
    for tokens in written:
        is_ended = bool(tokens) and tokens[-1] == tokenizer.end_of_text
        words = tokens[:-1] if is_ended else tokens
        samples.append(Sample([encoding.words[token] for token in words], is_ended))
    return samples
