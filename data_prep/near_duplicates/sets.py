"""Comparison of two n-gram sets in compiled loops: bounds first, then a merge that ends early.

A sketch of a set has a bit for each of 1,024 groups of hashes: whether it holds an odd number of
them. Sketches of two sets differ in at most as many bits as the sets differ in members, so most
pairs below the threshold are told apart without reading the sets ("bitmap filter", Sandes, Teodoro
and Melo 2017).
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from data_prep.ngrams.arrays import Hashes, Integers
from data_prep.ngrams.bits import U

SKETCH_WORDS = 16
_SKETCH_SHIFT = U(54)  # 10 bits of a hash remain: the number of a bit in 16 words of 64


class Sets(NamedTuple):
    """N-gram sets, numbered from 0.

    Attributes:
        grams: Hashes of all sets, one set after another, each ascending.
        bounds: Where each set begins in `grams`, and the end, (sets + 1,).
        sketches: Sketch of each set, (sets, SKETCH_WORDS).
    """

    grams: Hashes
    bounds: Integers
    sketches: Hashes

    @property
    def sizes(self) -> Integers:
        """Number of n-grams of each set, (sets,)."""
        return np.diff(self.bounds)

    def of(self, number: int) -> Hashes:
        """Return one set."""
        return self.grams[self.bounds[number] : self.bounds[number + 1]]


@njit(nogil=True, cache=True)
def sketch(grams: Hashes) -> Hashes:
    """Return the sketch of a set, (SKETCH_WORDS,)."""
    bits = np.zeros(SKETCH_WORDS, np.uint64)
    for gram in grams:
        bit = gram >> _SKETCH_SHIFT
        bits[bit >> U(6)] ^= U(1) << (bit & U(63))
    return bits


@njit(nogil=True, cache=True)
def needed(one: int, other: int, threshold: float) -> int:
    """Return the minimum number of members that two similar sets of these sizes share."""
    both = one + other
    shared = max(int(threshold / (1 + threshold) * both) - 1, 0)
    while shared / (both - shared) < threshold:
        shared += 1
    return shared


@njit(nogil=True, cache=True)
def least_size(size: int, threshold: float) -> int:
    """Return the size of the smallest set that can be similar to a set of `size` members."""
    least = max(int(threshold * size) - 1, 1)
    while least / size < threshold:
        least += 1
    return least


@njit(nogil=True, cache=True)
def similar(sets: Sets, one: int, other: int, threshold: float) -> bool:
    """Tell whether the Jaccard similarity of two sets is at least the threshold."""
    at, end = sets.bounds[one], sets.bounds[one + 1]
    other_at, other_end = sets.bounds[other], sets.bounds[other + 1]
    size, other_size = end - at, other_end - other_at
    if size == 0 or other_size == 0:
        return False
    need = needed(size, other_size, threshold)
    if need > min(size, other_size):
        return False
    spare = size + other_size - 2 * need  # members that only one of two similar sets may have
    differing = 0
    for word in range(SKETCH_WORDS):
        differing += _ones(sets.sketches[one, word] ^ sets.sketches[other, word])
    if differing > spare:
        return False
    left, other_left = size - need, other_size - need
    while at < end and other_at < other_end:
        gram, other_gram = sets.grams[at], sets.grams[other_at]
        if gram <= other_gram:
            at += 1
        if other_gram <= gram:
            other_at += 1
        if gram < other_gram:
            left -= 1
            if left < 0:
                return False
        elif other_gram < gram:
            other_left -= 1
            if other_left < 0:
                return False
    return left >= end - at and other_left >= other_end - other_at


# An intrinsic gets objects of numba's compiler, which have no public types: hence `Any`.
@intrinsic
def _ones(typing: Any, word: Any) -> Any:
    """Return the number of bits set in a 64-bit word."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.ctpop(values[0])

    return types.int64(types.uint64), generate
