"""Token shards of several sources, and the shares in which training takes samples from them."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction

from webtext_gpt.data.shards import TokenShards
from webtext_gpt.data.shares import CountedPattern, whole_parts
from webtext_gpt.errors import UserError
from webtext_gpt.tokenizer import Tokenizer


class Mixture:
    """Sources of tokens with one tokenizer; the order in which they are given does not matter.

    Args:
        sources: the token shards of each source, by name.
        weights: the weight of each source, positive; samples are taken in their ratio.

    Attributes:
        names: names of the sources.
        pattern: the source of each sample.
    """

    def __init__(self, sources: Mapping[str, TokenShards], weights: Mapping[str, Fraction]) -> None:
        self.names = sorted(sources)
        self.sources = {name: sources[name] for name in self.names}
        self.pattern = CountedPattern(whole_parts([weights[name] for name in self.names]))

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of all sources."""
        return self.sources[self.names[0]].tokenizer

    @property
    def vocab_size(self) -> int:
        """Size of the vocabulary."""
        return self.sources[self.names[0]].vocab_size

    @property
    def shares(self) -> dict[str, float]:
        """Each source's fraction of the training samples, by name."""
        return dict(zip(self.names, self.pattern.shares, strict=True))

    @property
    def hash(self) -> dict[str, str]:
        """By source, the share and the hash of its tokens, which determine the samples."""
        return {
            name: f"{part}/{self.pattern.period} of tokens {shards.hash}"
            for part, (name, shards) in zip(self.pattern.parts, self.sources.items(), strict=True)
        }


def source_seed(seed: int, name: str) -> int:
    """Return the seed that orders the blocks of one source of a mixture."""
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:8], "big")


@contextmanager
def naming_source(name: str) -> Iterator[None]:
    """Prefix errors raised in the block with the source's key, unless they name a source."""
    prefix = "data.sources."
    try:
        yield
    except UserError as error:
        if str(error).startswith(prefix):
            raise
        raise UserError(f"{prefix}{name}: {error}") from error
