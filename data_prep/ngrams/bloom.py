"""Bloom filter for billions of 64-bit hashes, with two cache lines per item.

The filter is two halves of blocks. A block is one cache line: eight words of 64 bits. An item has
one block in each half. There it sets one bit of every word, one more in the first four words and
one more in the last four: 20 bits in all, found with two memory accesses where a plain filter
needs 27. The price is 44.6 bits per item at a rate of 1e-8 instead of the optimum of 38.4 (Putze,
Sanders, Singler 2007 describe such layouts; figures in docs/how-to/overlap.md).

`bloom_size` gives the number of blocks for a false-positive rate. Once a filter is filled, the
rate is known from its bits (`bloom_fill`).
"""

from pathlib import Path

import numpy as np

from data_prep.ngrams.arrays import Hashes
from data_prep.ngrams.bloom_file import (
    VERSION,
    Header,
    check_words,
    map_words,
    read_header,
    write_filter,
)
from data_prep.ngrams.bloom_part import FilterPart, aligned_zeros
from data_prep.ngrams.bloom_size import HALVES
from data_prep.ngrams.hashing import NGRAM
from data_prep.ngrams.words import WORDS_VERSION
from webtext_gpt.errors import UserError


class BloomFilter(FilterPart):
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
        super().__init__(blocks, 0, HALVES * blocks, words)
        self.added = added
        self.room = room

    def add(self, hashes: Hashes) -> None:
        """Add hashes."""
        self.add_share(hashes, 0, 1)
        self.added += len(hashes)

    def false_positive_rate(self) -> float:
        """Return the probability that a hash which was never added is found in this filter."""
        return self.fill().false_positive_rate(self.added)

    def distinct(self) -> float:
        """Return the number of distinct hashes, estimated from the share of bits that are clear."""
        return self.fill().distinct()

    def refuse_overfull(self, name: str | Path) -> None:
        """Raise UserError if the filter, called `name`, holds more than it was sized for."""
        self.fill().refuse_overfull(name, self.added, self.room)

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
        write_filter(path, new_header(self.blocks, self.added, self.room), self.words)

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
        header = checked_header(path)
        words = map_words(path, header)
        if not mapped:
            mine = aligned_zeros(len(words))
            mine[:] = words
            words = mine
        return cls(header.blocks, words, header.added, header.room)


def new_header(blocks: int, added: int, room: int | None) -> Header:
    """Return the header of a filter that is made now."""
    return Header(VERSION, NGRAM, WORDS_VERSION, blocks, added, room)


def checked_header(path: Path) -> Header:
    """Return the header of a filter, all of which is read and checked; raises as `load` does."""
    header = read_header(path, {"ngram": NGRAM, "normalisation": WORDS_VERSION})
    check_words(path, header)
    return header
