"""Bloom filter for billions of 64-bit hashes, with two cache lines per item.

The filter is two halves of blocks. A block is one cache line: eight words of 64 bits. An item has
one block in each half. There it sets one bit of every word, one more in the first four words and
one more in the last four: 20 bits in all, found with two memory accesses where a plain filter
needs 27. The price is 44.6 bits per item at a rate of 1e-8 instead of the optimum of 38.4 (Putze,
Sanders, Singler 2007 describe such layouts; figures in docs/overlap.md).

`bloom_size` gives the number of blocks for a false-positive rate. Once a filter is filled, the
rate is known from its bits: a hash that was never added passes a block with probability
prod(f_w) * mean(f_0..f_3) * mean(f_4..f_7), where f_w is the share of bits set in its word w.
"""

import json
from pathlib import Path
from typing import TypedDict, cast

import numpy as np
import xxhash

from data_prep.ngrams.arrays import Flags, Hashes
from data_prep.ngrams.bits import U
from data_prep.ngrams.bloom_blocks import add_hashes, find_hashes
from data_prep.ngrams.bloom_size import BITS, HALVES, WORDS
from data_prep.ngrams.hashing import NGRAM
from data_prep.ngrams.words import WORDS_VERSION
from webtext_gpt.errors import UserError
from webtext_gpt.files import replaced

MAGIC = b"webtext-gpt bloom\n"
VERSION = 1
HEADER_BYTES = 4096  # one page, so that the words after it can be memory-mapped
_CHUNK = 1 << 21


class _Header(TypedDict):
    version: int
    ngram: int
    normalisation: str
    blocks: int
    added: int


class BloomFilter:
    """Approximate set of 64-bit hashes with a known false-positive rate.

    Args:
        blocks: Blocks of each half, 64 bytes each; see `blocks_for`.
        words: The bits, (2 * blocks * 8,). None means an empty filter.
        added: Number of hashes added so far, repeats included.
    """

    def __init__(self, blocks: int, words: Hashes | None = None, added: int = 0) -> None:
        self.blocks = blocks
        self.words = _zeros(HALVES * blocks * WORDS) if words is None else words
        self.added = added

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

    def save(self, path: Path) -> None:
        """Write the filter: a header of 4,096 bytes, then the words, little-endian."""
        header: _Header = {
            "version": VERSION, "ngram": NGRAM, "normalisation": WORDS_VERSION,
            "blocks": self.blocks, "added": self.added,
        }  # fmt: skip
        text = json.dumps(header).encode()
        head = MAGIC + xxhash.xxh3_128_hexdigest(text).encode() + b"\n" + text
        with replaced(path) as temporary, temporary.open("wb") as file:
            file.write(head.ljust(HEADER_BYTES))
            self.words.astype("<u8", copy=False).tofile(file)

    @classmethod
    def load(cls, path: Path, mapped: bool = True) -> "BloomFilter":
        """Open a filter.

        Args:
            path: The file.
            mapped: Whether to memory-map it for reading; otherwise it is read into memory.

        Raises:
            UserError: The file is not a filter, is damaged, has another size than its header
                states, or holds n-grams of another definition.
        """
        header = _read_header(path)
        blocks = header["blocks"]
        expected = HEADER_BYTES + HALVES * blocks * WORDS * 8
        if (size := path.stat().st_size) != expected:
            raise UserError(
                f"{path} has {size:,} bytes, but its header states {expected:,}; build it again"
            )
        if mapped:
            words: Hashes = np.memmap(path, "<u8", "r", HEADER_BYTES)
        else:
            words = _zeros(HALVES * blocks * WORDS)
            with path.open("rb") as file:
                file.seek(HEADER_BYTES)
                file.readinto(words.data.cast("B"))
        return cls(blocks, words, header["added"])


def _zeros(count: int) -> Hashes:
    """Return zeros aligned to cache lines, since a block across two lines takes twice the time."""
    room = np.zeros(count + WORDS, np.uint64)
    skip = -room.ctypes.data % 64 // 8
    return room[skip : skip + count]


def _read_header(path: Path) -> _Header:
    try:
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    if not head.startswith(MAGIC):
        raise UserError(
            f"{path} is not a Bloom filter of this project; build one with data_prep/filters.py"
        )
    digest, _, text = head[len(MAGIC) :].partition(b"\n")
    text = text.rstrip(b" ")
    if xxhash.xxh3_128_hexdigest(text).encode() != digest:
        raise UserError(f"{path}: its header is damaged; build it again")
    header = json.loads(text)
    for key, ours in {"version": VERSION, "ngram": NGRAM, "normalisation": WORDS_VERSION}.items():
        if header[key] != ours:
            raise UserError(
                f"{path}: {key} is {header[key]!r} there, {ours!r} here; build it again"
            )
    return cast(_Header, header)
