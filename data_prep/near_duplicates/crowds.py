"""Near-duplicates among documents that share large buckets, without comparing all pairs.

Many pages of one template meet in the same buckets but are less similar than the threshold. Similar
ones among them are found by prefixes (AllPairs, Bayardo, Ma and Srikant 2007; PPJoin, Xiao et al.
2008): order all n-grams by rarity; then two sets that share the `needed` members that the threshold
demands also share one of the rarest `size - needed + 1` members of each. Each set, in ascending
order of size, is looked up in an inverted index of these. Documents that are already joined are not
compared, and their entries are skipped together.

If a set's lists are longer than the number of sets of similar size, these are compared by their
sketches instead. This bounds the work where all n-grams are frequent.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from data_prep.near_duplicates.sets import Sets, least_size, needed, similar
from data_prep.ngrams.arrays import Hashes, Integers
from data_prep.ngrams.bits import U

ENTRIES = 1 << 22  # in an index, which is held in memory; more sets take several
COUNTERS = 1 << 26  # at most, of 4 bytes
_COUNT_BITS = 20
_MOST = np.uint32((1 << _COUNT_BITS) - 1)
_REST = U((1 << (64 - _COUNT_BITS)) - 1)

Counters = npt.NDArray[np.uint32]


class _Frequencies(NamedTuple):
    """Number of sets that hold an n-gram. N-grams that share a counter have their sum."""

    counters: Counters
    shift: np.uint64


class _Index(NamedTuple):
    """Rarest n-grams of some sets.

    Attributes:
        keys: Distinct keys, ascending; see `_rarest`.
        starts: Where the entries of each key begin, and the end, (keys + 1,).
        entries: Positions of sets in the order by size; by key, then component, then position.
        run_ends: For each entry, where the entries of its key and component end.
    """

    keys: Hashes
    starts: Integers
    entries: Integers
    run_ends: Integers


def join_crowd(sets: Sets, crowd: Integers, parents: Integers, threshold: float) -> None:
    """Join all similar sets among some.

    Args:
        sets: All sets.
        crowd: Numbers of the sets to compare.
        parents: Union-find forest over all sets, which is updated.
        threshold: Minimum Jaccard similarity.
    """
    sizes = sets.sizes[crowd]
    order = crowd[np.argsort(sizes, kind="stable")][np.count_nonzero(sizes == 0) :]
    frequencies = _frequencies(sets, order)
    lengths = _index_lengths(sets.sizes[order], threshold)
    ends = np.cumsum(lengths)
    low = 0
    while low < len(order):
        before = ends[low] - lengths[low]
        high = max(int(np.searchsorted(ends, before + ENTRIES, "right")), low + 1)
        index = _build(sets, order, low, high, lengths, frequencies, parents)
        _look_up(sets, order, low, high, index, frequencies, parents, threshold)
        low = high


def _frequencies(sets: Sets, order: Integers) -> _Frequencies:
    total = int(sets.sizes[order].sum())
    bits = min((2 * total + 1).bit_length(), COUNTERS.bit_length() - 1)
    counters = np.zeros(1 << bits, np.uint32)
    shift = U(64 - bits)
    _count(sets, order, counters, shift)
    return _Frequencies(counters, shift)


def _build(
    sets: Sets, order: Integers, low: int, high: int, lengths: Integers,
    frequencies: _Frequencies, parents: Integers,
) -> _Index:  # fmt: skip
    """Index the sets at the positions `low` to `high`."""
    components = np.array([root(parents, number) for number in order[low:high]], np.int64)
    positions = low + np.argsort(components, kind="stable")
    keys, entries = _rarest_of_all(sets, order, positions, lengths, frequencies)
    by_key = np.argsort(keys, kind="stable")
    keys, entries = keys[by_key], entries[by_key]
    first = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1]))) if len(keys) else by_key
    components = components[entries - low]
    last = np.ones(len(keys), bool)  # whether a run ends with the entry
    last[:-1] = (keys[1:] != keys[:-1]) | (components[1:] != components[:-1])
    run_ends = np.flatnonzero(last) + 1
    run_ends = np.repeat(run_ends, np.diff(run_ends, prepend=0))
    return _Index(keys[first], np.append(first, len(keys)), entries, run_ends)


@njit(nogil=True, cache=True)
def root(parents: Integers, number: int) -> int:
    """Return the representative of a set's component, and shorten the path to it."""
    while parents[number] != number:
        parents[number] = parents[parents[number]]
        number = parents[number]
    return number


@njit(nogil=True, cache=True)
def join_if_similar(sets: Sets, one: int, other: int, parents: Integers, threshold: float) -> None:
    """Join two sets if they are similar, unless they are joined already."""
    low, high = root(parents, one), root(parents, other)
    if low != high and similar(sets, one, other, threshold):
        parents[max(low, high)] = min(low, high)


@njit(nogil=True, cache=True)
def _count(sets: Sets, order: Integers, counters: Counters, shift: np.uint64) -> None:
    for number in order:
        for gram in sets.grams[sets.bounds[number] : sets.bounds[number + 1]]:
            counters[gram >> shift] += np.uint32(1)


@njit(nogil=True, cache=True)
def _index_lengths(sizes: Integers, threshold: float) -> Integers:
    """Return how many of each set's n-grams are indexed, given that larger sets look them up."""
    lengths = np.empty(len(sizes), np.int64)
    for at, size in enumerate(sizes):
        lengths[at] = size - needed(size, size, threshold) + 1
    return lengths


@njit(nogil=True, cache=True)
def _rarest(sets: Sets, number: int, length: int, frequencies: _Frequencies) -> Hashes:
    """Return keys of a set's rarest n-grams, ascending, without those that no other set has.

    A key is the n-gram's number of sets, then bits of its hash: the order is the same in all sets.
    `length` counts the n-grams that no other set has.
    """
    grams = sets.grams[sets.bounds[number] : sets.bounds[number + 1]]
    keys, shared = np.empty(len(grams), np.uint64), 0
    for gram in grams:
        count = frequencies.counters[gram >> frequencies.shift]
        if count > 1:
            count = min(count, _MOST)
            keys[shared] = U(count) << U(64 - _COUNT_BITS) | (gram & _REST)
            shared += 1
    length -= len(grams) - shared
    if length <= 0:
        return keys[:0]
    keys = keys[:shared]
    keys.sort()
    return keys[:length]


@njit(nogil=True, cache=True)
def _rarest_of_all(
    sets: Sets, order: Integers, positions: Integers, lengths: Integers, frequencies: _Frequencies
) -> tuple[Hashes, Integers]:
    """Return the keys to index of the sets at some positions, and the position of each key."""
    total = 0
    for position in positions:
        total += lengths[position]
    keys, entries, size = np.empty(total, np.uint64), np.empty(total, np.int64), 0
    for position in positions:
        for key in _rarest(sets, order[position], lengths[position], frequencies):
            keys[size], entries[size] = key, position
            size += 1
    return keys[:size], entries[:size]


@njit(nogil=True, cache=True)
def _look_up(
    sets: Sets, order: Integers, low: int, high: int, index: _Index,
    frequencies: _Frequencies, parents: Integers, threshold: float,
) -> None:  # fmt: skip
    """Join each set with the similar ones among those indexed that come before it by size."""
    seen = np.full(high - low, -1, np.int64)  # last set for which an indexed set was compared
    first = low
    for position in range(low + 1, len(order)):
        one = order[position]
        size = sets.bounds[one + 1] - sets.bounds[one]
        least = least_size(size, threshold)
        while first < high and sets.bounds[order[first] + 1] - sets.bounds[order[first]] < least:
            first += 1
        if first == high:  # all indexed sets are too small from here on
            return
        end = min(position, high)
        length = size - needed(size, least, threshold) + 1
        left = end - first  # entries that may be read before comparing all costs less
        for key in _rarest(sets, one, length, frequencies):
            left = _look_up_key(
                sets, order, position, first, end, low, key, index, seen, left, parents, threshold
            )
            if left < 0:
                break
        if left < 0:
            for other in range(first, end):
                join_if_similar(sets, one, order[other], parents, threshold)


@njit(nogil=True, cache=True)
def _look_up_key(
    sets: Sets, order: Integers, position: int, first: int, end: int, low: int,
    key: np.uint64, index: _Index, seen: Integers, left: int, parents: Integers,
    threshold: float,
) -> int:  # fmt: skip
    """Join one set with the similar ones at the positions `first` to `end` that have a key.

    Returns:
        `left`, reduced by the number of entries read; negative if they were too many.
    """
    at = np.searchsorted(index.keys, key)
    if at == len(index.keys) or index.keys[at] != key:
        return left
    one, entry, stop = order[position], index.starts[at], index.starts[at + 1]
    while entry < stop:
        other = index.entries[entry]
        joined = root(parents, order[other]) == root(parents, one)
        if joined or other >= end:  # so is the rest of its component, or it is larger
            entry = index.run_ends[entry]
            continue
        left -= 1
        if left < 0:
            return left
        entry += 1
        if other >= first and seen[other - low] != position:
            seen[other - low] = position
            join_if_similar(sets, one, order[other], parents, threshold)
    return left
