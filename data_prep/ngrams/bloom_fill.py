"""Fill of a Bloom filter: its false-positive rate and distinct items, computed from its bits.

A hash that was never added passes a block with probability prod(f_w) * mean(f_0..f_3) *
mean(f_4..f_7), where f_w is the share of bits set in word w of the block. Multiplied by 2^64, that
is a whole number. The sums over blocks are therefore exact, and do not depend on the parts in which
a filter is counted.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.ngrams.arrays import Hashes
from data_prep.ngrams.bloom_size import BITS, HALVES, MARGIN, WORDS
from webtext_gpt.errors import UserError

_CHUNK = 1 << 18
"""Blocks that are counted at once."""
_LOW = np.uint64(24)
"""Bits of the lower part of a product, so that sums over `_CHUNK` blocks fit into 64 bits."""


@dataclass(frozen=True)
class Fill:
    """Counts over the blocks of a filter, or of parts of it, which can be added.

    Attributes:
        blocks: Blocks of each half of the whole filter.
        bits: Bits that are set.
        passing: For each half, the sum over its blocks of 2^64 times the probability that an
            absent hash passes the block.
    """

    blocks: int
    bits: int = 0
    passing: tuple[int, int] = (0, 0)

    def __add__(self, other: "Fill") -> "Fill":
        passing = (self.passing[0] + other.passing[0], self.passing[1] + other.passing[1])
        return Fill(self.blocks, self.bits + other.bits, passing)

    def false_positive_rate(self, added: int) -> float:
        """Return the probability that a hash which was never added is found in the filter.

        Args:
            added: Hashes added; a hash of another 8-gram may equal one of them.
        """
        first, second = (found / (self.blocks << 64) for found in self.passing)
        return first * second + added / 2**64

    def distinct(self) -> float:
        """Return the number of distinct hashes, estimated from the share of bits that are clear.

        A filter whose bits are all set gives the number at which one clear bit is expected.
        """
        size = HALVES * self.blocks * WORDS * BITS
        # An item leaves a bit of its block clear with this probability; the block is one of many.
        left = (1 - 1 / BITS) * (1 - 1 / (4 * BITS))
        clear = max(size - self.bits, 1)
        return math.log(clear / size) / math.log1p(-(1 - left) / self.blocks)

    def refuse_overfull(self, name: str | Path, added: int, room: int | None) -> None:
        """Raise UserError if the filter, called `name`, holds more than it was sized for.

        The margin with which room is estimated is allowed for, and eight standard deviations of
        this estimate: 0.12 sqrt(n) for n items, as measured for 5 to a million.

        Args:
            name: Name of the filter in the message.
            added: Hashes added, repeats included.
            room: Distinct hashes that the filter was sized for. None means unknown.
        """
        if room is None:
            return
        distinct = self.distinct()
        if distinct > MARGIN * room + math.sqrt(room):
            raise UserError(
                f"{name}: about {distinct:,.0f} distinct 8-grams are in a filter with room for "
                f"{room:,}; its false-positive rate by its bits is "
                f"{self.false_positive_rate(added):.3g}. Build it with ngrams="
                f"{distinct * MARGIN:.0f} or more"
            )


def count_fill(words: Hashes, blocks: int, low: int) -> Fill:
    """Count some consecutive blocks of a filter.

    Args:
        words: Their words, (number of blocks * 8,).
        blocks: Blocks of each half of the whole filter.
        low: Number of the first of them, counted through both halves.
    """
    bits, passing = 0, [0, 0]
    lines = words.reshape(-1, WORDS)
    for half in range(HALVES):
        begin, end = (max(half * blocks + side * blocks - low, 0) for side in (0, 1))
        mine = lines[begin:end]
        for at in range(0, len(mine), _CHUNK):
            counts = np.bitwise_count(mine[at : at + _CHUNK]).astype(np.uint64)
            bits += int(counts.sum())
            product = counts.prod(axis=1)  # at most 2^48
            more = counts[:, :4].sum(axis=1) * counts[:, 4:].sum(axis=1)  # at most 2^16
            passing[half] += int(((product >> _LOW) * more).sum()) << int(_LOW)
            passing[half] += int(((product & ((np.uint64(1) << _LOW) - np.uint64(1))) * more).sum())
    return Fill(blocks, bits, (passing[0], passing[1]))
