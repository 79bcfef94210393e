"""Bloom filter for billions of 64-bit hashes, with two cache lines per item.

The filter is two halves of blocks. A block is one cache line: eight words of 64 bits. An item has
one block in each half. There it sets one bit of every word, one more in the first four words and
one more in the last four: 20 bits in all, found with two memory accesses where a plain filter
needs 27. The price is 44.6 bits per item at a rate of 1e-8 instead of the optimum of 38.4 (Putze,
Sanders, Singler 2007 describe such layouts; figures in docs/how-to/overlap.md).

`bloom_size` gives the number of blocks for a false-positive rate. Once a filter is filled, the
rate is known from its bits: a hash that was never added passes a block with probability
prod(f_w) * mean(f_0..f_3) * mean(f_4..f_7), where f_w is the share of bits set in its word w.
"""

import math
from pathlib import Path

import numpy as np

from data_prep.ngrams.arrays import Flags, Hashes
from data_prep.ngrams.bits import U
from data_prep.ngrams.bloom_blocks import add_hashes, find_hashes
from data_prep.ngrams.bloom_file import VERSION, Header, map_words, read_header, write_filter
from data_prep.ngrams.bloom_size import BITS, HALVES, MARGIN, WORDS
from data_prep.ngrams.hashing import NGRAM
from data_prep.ngrams.words import WORDS_VERSION
from webtext_gpt.errors import UserError

_CHUNK = 1 << 21


class BloomFilter:
    """Approximate set of 64-bit hashes with a known false-positive rate.

    Args:
        blocks: Blocks of each half, 64 bytes each; see `blocks_for`.
        words: The bits, (2 * blocks * 8,). None means an empty filter.
        added: Number of hashes added so far, repeats included.
        room: Distinct hashes that `blocks` were chosen for. None means unknown.
    """

    def __init__(
        self, blocks: int, words: Hashes | None = None, added: int = 0, room: int | None = None
    ) -> None:
        self.blocks = blocks
        self.words = _zeros(HALVES * blocks * WORDS) if words is None else words
        self.added = added
        self.room = room

    @property
    def n_bytes(self) -> int:
        """Memory of the bits, in bytes."""
        return self.words.nbytes

    def add(self, hashes: Hashes) -> None:
        """Add hashes."""
        self.add_share(hashes, 0, 1)
        self.added += len(hashes)

    def add_share(self, hashes: Hashes, number: int, of: int) -> None:
        """Set the bits of hashes in one share of the blocks: number `number` of `of` equal shares.

        Threads can work on one share each, because shares have no word in common. All shares
        together do what `add` does, except that `added` does not change.
        """
        total = HALVES * self.blocks
        low, high = total * number // of, total * (number + 1) // of
        add_hashes(self.words, U(self.blocks), hashes, U(low), U(high))

    def contains(self, hashes: Hashes) -> Flags:
        """Return which hashes are found, (len(hashes),): those added, and false positives."""
        found = np.empty(len(hashes), np.bool_)
        find_hashes(self.words, U(self.blocks), hashes, found)
        return found

    def false_positive_rate(self) -> float:
        """Return the probability that a hash which was never added is found in this filter."""
        rate = 1.0
        for half in self.words.reshape(HALVES, self.blocks * WORDS):
            passing = 0.0
            for at in range(0, len(half), _CHUNK):
                shares = np.bitwise_count(half[at : at + _CHUNK]).reshape(-1, WORDS) / BITS
                more = shares[:, :4].mean(axis=1) * shares[:, 4:].mean(axis=1)
                passing += float((shares.prod(axis=1) * more).sum())
            rate *= passing / self.blocks
        return rate + self.added / 2**64

    def distinct(self) -> float:
        """Return the number of distinct hashes, estimated from the share of bits that are clear.

        A filter whose bits are all set gives the number at which one clear bit is expected.
        """
        bits = self.words.size * BITS
        chunks = (self.words[at : at + _CHUNK] for at in range(0, len(self.words), _CHUNK))
        clear = bits - sum(int(np.bitwise_count(chunk).sum(dtype=np.int64)) for chunk in chunks)
        # An item leaves a bit of its block clear with this probability; the block is one of many.
        left = (1 - 1 / BITS) * (1 - 1 / (4 * BITS))
        return math.log(max(clear, 1) / bits) / math.log1p(-(1 - left) / self.blocks)

    def refuse_overfull(self, name: str | Path) -> None:
        """Raise UserError if the filter, called `name`, holds more than it was sized for.

        The margin with which room is estimated is allowed for, and eight standard deviations of
        this estimate: 0.12 sqrt(n) for n items, as measured for 5 to a million.
        """
        if self.room is None:
            return
        distinct = self.distinct()
        if distinct > MARGIN * self.room + math.sqrt(self.room):
            raise UserError(
                f"{name}: about {distinct:,.0f} distinct 8-grams are in a filter with room for "
                f"{self.room:,}; its false-positive rate by its bits is "
                f"{self.false_positive_rate():.3g}. Build it with ngrams={distinct * MARGIN:.0f} "
                "or more"
            )

    def merge(self, other: "BloomFilter") -> None:
        """Add everything that another filter holds.

        Raises:
            UserError: The filters differ in size.
        """
        if self.blocks != other.blocks:
            raise UserError(
                f"filters of {self.blocks:,} and {other.blocks:,} blocks cannot be merged: build "
                "the parts with the same ngrams= and rate="
            )
        np.bitwise_or(self.words, other.words, out=self.words)
        self.added += other.added
        if self.room is not None and other.room is not None:
            self.room = min(self.room, other.room)

    def save(self, path: Path) -> None:
        """Write the filter; see `bloom_file`."""
        header = Header(VERSION, NGRAM, WORDS_VERSION, self.blocks, self.added, self.room)
        write_filter(path, header, self.words)

    @classmethod
    def load(cls, path: Path, mapped: bool = True) -> "BloomFilter":
        """Open a filter, all of which is read and checked.

        Args:
            path: The file.
            mapped: Whether to memory-map it for reading; otherwise it is read into memory.

        Raises:
            UserError: The file is not a filter, is damaged, has another size than its header
                states, or holds n-grams of another definition.
        """
        header = read_header(path, {"ngram": NGRAM, "normalisation": WORDS_VERSION})
        words = map_words(path, header)
        if not mapped:
            mine = _zeros(len(words))
            mine[:] = words
            words = mine
        return cls(header.blocks, words, header.added, header.room)


def _zeros(count: int) -> Hashes:
    """Return zeros aligned to cache lines, since a block across two lines takes twice the time."""
    room = np.zeros(count + WORDS, np.uint64)
    skip = -room.ctypes.data % 64 // 8
    return room[skip : skip + count]
