"""A Bloom filter for billions of 64-bit hashes: two cache lines an item, sized by construction.

The filter is two halves of blocks; a block is one cache line, eight words of 64 bits. An item
has one block in each half. There it sets one bit of every word, one more of the first four and
one more of the last four: 20 bits in all, found with two accesses to memory where a plain filter
makes 27. For that the optimum of 38.4 bits an item at 1e-8 becomes 44.6 (Putze, Sanders, Singler
2007 describe such layouts; figures in docs/overlap.md).

The false-positive rate is known twice. Before: the items of a block are Poisson-distributed,
which gives the number of blocks. After: a hash that was never added passes a block with
probability prod(f_w) * mean(f_0..f_3) * mean(f_4..f_7), f_w the share of bits set in its word w, so
the blocks as they are give the rate of this very filter.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numba import njit

from data_prep.ngrams.bits import U, high_product, mix, prefetch
from data_prep.ngrams.hashing import NGRAM
from data_prep.ngrams.words import WORDS_VERSION
from webtext_gpt.errors import UserError
from webtext_gpt.files import replaced

RATE = 1e-8
"""Bloom filters of the paper: at most one false positive in 10^8."""

MAGIC = b"webtext-gpt bloom\n"
VERSION = 1
HEADER_BYTES = 4096  # a page, so that what follows can be memory-mapped
HALVES, WORDS, BITS = 2, 8, 64
_AHEAD = 32  # lines asked for before the first is used
_BLOCK, _PATTERN = U(0x9E3779B97F4A7C15), U(0xC2B2AE3D27D4EB4F)
_CHUNK = 1 << 21


def rate_of_load(load: float) -> float:
    """False-positive rate where a block of either half holds `load` items on average."""
    items = np.arange(int(load + 12 * math.sqrt(load) + 20))
    logs = np.array([math.lgamma(i + 1) for i in items])
    poisson = np.exp(items * math.log(load) - load - logs)
    # An item sets one bit of each word and one of each four words. The share f of a word's bits
    # that are set counts once for six words, and squared for one of each four: E[f^2] > E[f]^2.
    clear = ((1 - 1 / BITS) * (1 - 1 / (4 * BITS))) ** items
    both_clear = ((1 - 2 / BITS) * (1 - 2 / (4 * BITS))) ** items
    squared = (1 - clear) / BITS + (1 - 1 / BITS) * (1 - 2 * clear + both_clear)
    return float((poisson * (1 - clear) ** 6 * squared**2).sum()) ** HALVES


def blocks_for(items: int, rate: float = RATE) -> int:
    """Blocks of a half with which `items` distinct hashes stay below a false-positive rate.

    Raises:
        UserError: a rate outside (0, 1), or one that 64-bit hashes of so many items cannot keep.
    """
    left = rate - items / 2**64  # what collisions of the hashes themselves leave
    if not 0 < left < rate <= 0.5:
        raise UserError(f"rate={rate}: with {items:,} items it must lie in (2^-64 of them, 0.5]")
    low, high = 1e-3, 1e4
    while high / low > 1 + 1e-9:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if rate_of_load(middle) > left else (middle, high)
    return max(math.ceil(items / low), 1)


class BloomFilter:
    """A set of 64-bit hashes that may say yes to a stranger, at a known rate.

    Args:
        blocks: of each half, 64 bytes each; `blocks_for` gives the number.
        words: the bits, uint64, (2 * blocks * 8,); zeros where they are left out.
        added: how many hashes were added, repeats included.
    """

    def __init__(self, blocks: int, words: np.ndarray | None = None, added: int = 0) -> None:
        self.blocks = blocks
        self.words = _cleared(HALVES * blocks * WORDS) if words is None else words
        self.added = added

    @property
    def n_bytes(self) -> int:
        """Memory of the bits."""
        return self.words.nbytes

    def add(self, hashes: np.ndarray) -> None:
        """Add hashes (uint64)."""
        self.add_share(hashes, 0, 1)
        self.added += len(hashes)

    def add_share(self, hashes: np.ndarray, number: int, of: int) -> None:
        """Set the bits that lie in one of `of` equal shares of the blocks, for a thread each.

        All shares together do what `add` does, but for counting, and touch no common word.
        """
        total = HALVES * self.blocks
        low, high = total * number // of, total * (number + 1) // of
        _add(self.words, U(self.blocks), hashes, U(low), U(high))

    def contains(self, hashes: np.ndarray) -> np.ndarray:
        """Which of the hashes were added, or look so: bool, (len(hashes),)."""
        found = np.empty(len(hashes), np.bool_)
        _contains(self.words, U(self.blocks), hashes, found)
        return found

    def false_positive_rate(self) -> float:
        """Of this filter as it is: the chance that a hash which was never added is found."""
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
        """Make this the filter of both sets (OR).

        Raises:
            UserError: the filters are not of one size.
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
        header = {
            "version": VERSION, "ngram": NGRAM, "normalisation": WORDS_VERSION,
            "blocks": self.blocks, "added": self.added,
        }  # fmt: skip
        text = json.dumps(header).encode()
        head = MAGIC + xxhash.xxh3_128_hexdigest(text).encode() + b"\n" + text
        with replaced(path) as partial, partial.open("wb") as file:
            file.write(head.ljust(HEADER_BYTES))
            self.words.astype("<u8", copy=False).tofile(file)

    @classmethod
    def load(cls, path: Path, mapped: bool = True) -> "BloomFilter":
        """Open a filter, memory-mapped for reading, or read into memory.

        Raises:
            UserError: not a filter, damaged, of another size than its header says, or of
                n-grams that are made otherwise.
        """
        header = _header(path)
        blocks = header["blocks"]
        due = HEADER_BYTES + HALVES * blocks * WORDS * 8
        if (size := path.stat().st_size) != due:
            raise UserError(f"{path} has {size:,} bytes, its header states {due:,}; build it again")
        if mapped:
            words: np.ndarray = np.memmap(path, "<u8", "r", HEADER_BYTES)
        else:
            words = _cleared(HALVES * blocks * WORDS)
            view: Any = words.view(np.uint8)
            with path.open("rb") as file:
                file.seek(HEADER_BYTES)
                file.readinto(view)
        return cls(blocks, words, header["added"])


def _cleared(count: int) -> np.ndarray:
    """Zeros that begin on a cache line; a block that straddles two costs twice the time."""
    room = np.zeros(count + WORDS, np.uint64)
    skip = -room.ctypes.data % 64 // 8
    return room[skip : skip + count]


def _header(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    if not head.startswith(MAGIC):
        raise UserError(f"{path} is no Bloom filter of ours; build one with data_prep/bloom.py")
    digest, _, text = head[len(MAGIC) :].partition(b"\n")
    text = text.rstrip(b" ")
    if xxhash.xxh3_128_hexdigest(text).encode() != digest:
        raise UserError(f"{path}: its header is damaged; build it again")
    header: dict[str, Any] = json.loads(text)
    for key, ours in {"version": VERSION, "ngram": NGRAM, "normalisation": WORDS_VERSION}.items():
        if header[key] != ours:
            raise UserError(
                f"{path}: {key} is {header[key]!r} there, {ours!r} here; build it again"
            )
    return header


@njit(inline="always", cache=True)
def _place(hash_: Any, half: int, blocks: Any) -> Any:
    """An item's block in one half, and the pattern of its ten bits there."""
    key = mix(hash_ + U(half + 1) * _BLOCK)
    return high_product(key, blocks) + U(half) * blocks, mix(key + _PATTERN)


@njit(inline="always", cache=True)
def _set(words: Any, line: Any, pattern: Any) -> None:
    fore, hind = (pattern >> U(48)) & U(3), ((pattern >> U(56)) & U(3)) + U(4)
    fore_bit, hind_bit = (pattern >> U(50)) & U(63), pattern >> U(58)
    for word in range(WORDS):  # without a branch, so that it becomes one operation on vectors
        bits = U(1) << ((pattern >> U(6 * word)) & U(63))
        bits |= (U(word == fore) << fore_bit) | (U(word == hind) << hind_bit)
        words[line + U(word)] |= bits


@njit(inline="always", cache=True)
def _is_set(words: Any, line: Any, pattern: Any) -> Any:
    found = words[line + ((pattern >> U(48)) & U(3))] >> ((pattern >> U(50)) & U(63))
    found &= words[line + ((pattern >> U(56)) & U(3)) + U(4)] >> (pattern >> U(58))
    for word in range(WORDS):
        found &= words[line + U(word)] >> ((pattern >> U(6 * word)) & U(63))
    return found & U(1)


@njit(nogil=True, cache=True)
def _add(words: Any, blocks: Any, hashes: Any, low: Any, high: Any) -> None:
    """Set the bits of all hashes in blocks `low` to `high`, each line `_AHEAD` lines after asking.

    Memory answers a hundred times slower than it delivers, so many lines are asked for at once.
    """
    lines, patterns = np.empty(_AHEAD, np.uint64), np.empty(_AHEAD, np.uint64)
    asked = 0
    for at in range(len(hashes)):
        for half in range(HALVES):
            block, pattern = _place(hashes[at], half, blocks)
            if block < low or block >= high:
                continue
            prefetch(words, block * U(WORDS))
            slot = asked & (_AHEAD - 1)
            if asked >= _AHEAD:
                _set(words, lines[slot], patterns[slot])
            lines[slot], patterns[slot] = block * U(WORDS), pattern
            asked += 1
    for slot in range(min(asked, _AHEAD)):
        _set(words, lines[slot], patterns[slot])


@njit(nogil=True, cache=True)
def _contains(words: Any, blocks: Any, hashes: Any, found: Any) -> None:
    """As `_add`, with `_AHEAD` items under way; most strangers are told by their first line."""
    lines = np.empty((_AHEAD, HALVES), np.uint64)
    patterns = np.empty((_AHEAD, HALVES), np.uint64)
    for at in range(len(hashes) + _AHEAD):
        slot = at & (_AHEAD - 1)
        if at >= _AHEAD:
            found[at - _AHEAD] = True
            for half in range(HALVES):
                if not _is_set(words, lines[slot, half], patterns[slot, half]):
                    found[at - _AHEAD] = False
                    break
        if at < len(hashes):
            for half in range(HALVES):
                block, pattern = _place(hashes[at], half, blocks)
                prefetch(words, block * U(WORDS))
                lines[slot, half], patterns[slot, half] = block * U(WORDS), pattern
