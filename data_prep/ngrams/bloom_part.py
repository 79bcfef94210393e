"""Consecutive blocks of a Bloom filter: all of them, or a part that fits into memory.

An item is in a filter if every part finds it. Each part holds only the bits of its own blocks, so
the parts of a filter can be built and queried one after the other.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from data_prep.ngrams.arrays import Flags, Hashes
from data_prep.ngrams.bits import U
from data_prep.ngrams.bloom_blocks import add_hashes, find_hashes
from data_prep.ngrams.bloom_fill import Fill, count_fill
from data_prep.ngrams.bloom_size import HALVES, WORDS

BLOCK_BYTES = WORDS * 8
"""Bytes of a block: one cache line."""


class FilterPart:
    """Blocks `low` to `high` of a Bloom filter, counted through both halves.

    Args:
        blocks: Blocks of each half of the whole filter.
        low: First block of the part.
        high: Block after its last one.
        words: The bits, ((high - low) * 8,). None means that none is set.
    """

    def __init__(self, blocks: int, low: int, high: int, words: Hashes | None = None) -> None:
        self.blocks, self.low, self.high = blocks, low, high
        self.words = aligned_zeros((high - low) * WORDS) if words is None else words

    @property
    def n_bytes(self) -> int:
        """Memory of the bits, in bytes."""
        return self.words.nbytes

    def add_share(self, hashes: Hashes, number: int, of: int) -> None:
        """Set the bits of hashes in one share of the blocks: number `number` of `of` equal shares.

        Threads can work on one share each, because shares have no word in common.
        """
        total = self.high - self.low
        begin, end = total * number // of, total * (number + 1) // of
        words = self.words[begin * WORDS : end * WORDS]
        add_hashes(words, U(self.blocks), hashes, U(self.low + begin), U(self.low + end))

    def add_on(self, pool: ThreadPoolExecutor, threads: int, hashes: Hashes) -> None:
        """Set the bits of hashes in all blocks, a share on each thread."""
        list(pool.map(partial(self.add_share, hashes, of=threads), range(threads)))

    def contains(self, hashes: Hashes) -> Flags:
        """Return which hashes are found in this part, (len(hashes),).

        These are the hashes added, those without a bit here, and false positives.
        """
        found = np.empty(len(hashes), np.bool_)
        find_hashes(self.words, U(self.blocks), hashes, U(self.low), U(self.high), found)
        return found

    def fill(self) -> Fill:
        """Count the bits of this part."""
        return count_fill(self.words, self.blocks, self.low)


def part_ranges(blocks: int, n_bytes: int | None) -> list[tuple[int, int]]:
    """Divide a filter into equal parts: the first block of each, and the block after its last.

    Args:
        blocks: Blocks of each half.
        n_bytes: Largest size of a part. None means any.
    """
    total = HALVES * blocks
    most = total if n_bytes is None else max(n_bytes // BLOCK_BYTES, 1)
    number = -(-total // most)
    return [(total * at // number, total * (at + 1) // number) for at in range(number)]


def aligned_zeros(count: int) -> Hashes:
    """Return zeros aligned to cache lines, since a block across two lines takes twice the time."""
    room = np.zeros(count + WORDS, np.uint64)
    skip = -room.ctypes.data % 64 // 8
    return room[skip : skip + count]
