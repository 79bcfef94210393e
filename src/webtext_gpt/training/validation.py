"""Figures of a validation, by source of the corpus and over all of them."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from webtext_gpt.data.pretraining import Source
from webtext_gpt.model import perplexity

SHARE = "val_share"
"""Key of the scored fraction of the validation splits, in runs that may score a sample."""


class Scored(NamedTuple):
    """Sums over the validation split of one source, or over a sample of it."""

    nats: float
    tokens: float


def tokens_per_byte(source: Source) -> float:
    """Return the number of predicted tokens of a source's validation split per byte of its text."""
    return (source.validation.n_tokens - 1) / source.validation.n_bytes


def byte_shares(sources: Sequence[Source]) -> list[float]:
    """Return each source's fraction of the bytes of a text mixed by the sources' shares.

    Shares count tokens, and the number of tokens per byte differs between sources.
    """
    sizes = [source.share / tokens_per_byte(source) for source in sources]
    return [size / math.fsum(sizes) for size in sizes]


def weighted_mean(values: Sequence[float], weights: Sequence[float]) -> float:
    """Return the mean of values whose weights add up to 1."""
    return math.fsum(value * weight for value, weight in zip(values, weights, strict=True))


def validation_figures(sources: Sequence[Source], scored: Sequence[Scored]) -> dict[str, float]:
    """Return loss (nats per token), perplexity, and bits per byte of the validation text.

    For several sources, they are the figures of a text mixed by the sources' shares of the training
    samples: the loss is the mean of their losses, weighted by these shares and not by how much of
    each is held out. `val_loss_NAME` and `val_bits_per_byte_NAME` are the figures of one source.

    Args:
        sources: the sources of the corpus.
        scored: the sums of each.
    """
    losses = [sums.nats / sums.tokens for sums in scored]
    bits_per_byte = [
        loss / math.log(2) * tokens_per_byte(source)
        for source, loss in zip(sources, losses, strict=True)
    ]
    loss = weighted_mean(losses, [source.share for source in sources])
    figures = {
        "val_loss": loss,
        "val_perplexity": perplexity(loss),
        "val_bits_per_byte": weighted_mean(bits_per_byte, byte_shares(sources)),
    }
    for source, own, bits in zip(sources, losses, bits_per_byte, strict=True):
        if source.name:
            figures[f"val_loss_{source.name}"] = own
            figures[f"val_bits_per_byte_{source.name}"] = bits
    return figures


def share_scored(sources: Sequence[Source], scored: Sequence[Scored]) -> float:
    """Return the fraction of the sources' validation splits that was scored."""
    targets = sum(source.validation.n_tokens - 1 for source in sources)
    return math.fsum(sums.tokens for sums in scored) / targets
