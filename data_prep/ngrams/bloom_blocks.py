"""Compiled loops of the Bloom filter: locating, setting and testing an item's bits.

The latency of a random memory access is about a hundred times the transfer time of a cache line.
The loops therefore prefetch the cache lines of `_AHEAD` items before they use the first one.
"""

import numpy as np
from numba import njit

from data_prep.ngrams.arrays import Flags, Hashes
from data_prep.ngrams.bits import U, high_product, mix, prefetch
from data_prep.ngrams.bloom_size import HALVES, WORDS

_AHEAD = 32  # a power of two
_ELSEWHERE = U(2**64 - 1)
"""Line number of a block that is not in memory."""
_BLOCK, _PATTERN = U(0x9E3779B97F4A7C15), U(0xC2B2AE3D27D4EB4F)


@njit(nogil=True, cache=True)
def add_hashes(
    words: Hashes, blocks: np.uint64, hashes: Hashes, low: np.uint64, high: np.uint64
) -> None:
    """Set the bits of all hashes in blocks `low` to `high`, counted through both halves.

    Args:
        words: The bits of these blocks, ((high - low) * 8,).
        blocks: Blocks of a half of the whole filter.
        hashes: The hashes to add.
        low: First block.
        high: Block after the last one.
    """
    lines, patterns = np.empty(_AHEAD, np.uint64), np.empty(_AHEAD, np.uint64)
    queued = 0
    first, last = int(low >= blocks), 1 + int(high > blocks)
    for at in range(len(hashes)):
        for half in range(first, last):
            block, pattern = _place(hashes[at], half, blocks)
            if block < low or block >= high:
                continue
            line = (block - low) * U(WORDS)
            prefetch(words, line)
            slot = queued & (_AHEAD - 1)
            if queued >= _AHEAD:
                _set(words, lines[slot], patterns[slot])
            lines[slot], patterns[slot] = line, pattern
            queued += 1
    for slot in range(min(queued, _AHEAD)):
        _set(words, lines[slot], patterns[slot])


@njit(nogil=True, cache=True)
def find_hashes(
    words: Hashes, blocks: np.uint64, hashes: Hashes, low: np.uint64, high: np.uint64, found: Flags
) -> None:
    """Write to `found` which hashes have all their bits in blocks `low` to `high`.

    A hash without a bit there is found. Most absent hashes need only one cache line. The arguments
    are those of `add_hashes`.
    """
    lines = np.empty((_AHEAD, HALVES), np.uint64)
    patterns = np.empty((_AHEAD, HALVES), np.uint64)
    first, last = int(low >= blocks), 1 + int(high > blocks)
    for at in range(len(hashes) + _AHEAD):
        slot = at & (_AHEAD - 1)
        if at >= _AHEAD:
            found[at - _AHEAD] = True
            for half in range(first, last):
                line = lines[slot, half]
                if line != _ELSEWHERE and not _is_set(words, line, patterns[slot, half]):
                    found[at - _AHEAD] = False
                    break
        if at < len(hashes):
            for half in range(first, last):
                block, pattern = _place(hashes[at], half, blocks)
                if block < low or block >= high:
                    lines[slot, half] = _ELSEWHERE
                    continue
                line = (block - low) * U(WORDS)
                prefetch(words, line)
                lines[slot, half], patterns[slot, half] = line, pattern


@njit(inline="always", cache=True)
def _place(item: np.uint64, half: int, blocks: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Return an item's block in one half, and the pattern of its ten bits there."""
    key = mix(item + U(half + 1) * _BLOCK)
    return high_product(key, blocks) + U(half) * blocks, mix(key + _PATTERN)


@njit(inline="always", cache=True)
def _set(words: Hashes, line: np.uint64, pattern: np.uint64) -> None:
    fore, hind = (pattern >> U(48)) & U(3), ((pattern >> U(56)) & U(3)) + U(4)
    fore_bit, hind_bit = (pattern >> U(50)) & U(63), pattern >> U(58)
    for word in range(WORDS):  # no branch, so that it compiles to vector operations
        bits = U(1) << ((pattern >> U(6 * word)) & U(63))
        bits |= (U(word == fore) << fore_bit) | (U(word == hind) << hind_bit)
        words[line + U(word)] |= bits


@njit(inline="always", cache=True)
def _is_set(words: Hashes, line: np.uint64, pattern: np.uint64) -> np.uint64:
    found = words[line + ((pattern >> U(48)) & U(3))] >> ((pattern >> U(50)) & U(63))
    found &= words[line + ((pattern >> U(56)) & U(3)) + U(4)] >> (pattern >> U(58))
    for word in range(WORDS):
        found &= words[line + U(word)] >> ((pattern >> U(6 * word)) & U(63))
    return found & U(1)
