"""Exact set of the test sets' 8-grams, for which training documents are scanned.

It needs memory only for the test sets and has no false positives: an 8-gram counts as found if
two independent 64-bit hashes agree.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from numba import njit

from data_prep.ngrams.arrays import Hashes, Integers
from data_prep.ngrams.bits import U
from data_prep.ngrams.hashing import Ngrams, check_hashes

_SIEVE_BITS = 24  # 2 MB, which fit in the L2 cache; the sieve rejects nearly all absent 8-grams

Slots = npt.NDArray[np.int32]


class ExactSet:
    """Distinct 8-grams, numbered in the order of their hashes.

    Args:
        hashes: Distinct 8-gram hashes, ascending.
        checks: A second hash of each.
    """

    def __init__(self, hashes: Hashes, checks: Hashes) -> None:
        self.hashes = hashes
        self.checks = checks
        bits = max(4, (4 * len(hashes)).bit_length())
        self._slots = np.full(1 << bits, -1, np.int32)
        self._sieve = np.zeros(1 << (_SIEVE_BITS - 6), np.uint64)
        _fill(hashes, self._slots, self._sieve)

    def __len__(self) -> int:
        return len(self.hashes)

    @classmethod
    def of(cls, found: Sequence[Ngrams]) -> "ExactSet":
        """Make the set of the distinct 8-grams of several collections of texts."""
        empty = [np.empty(0, np.uint64)]
        hashes = np.concatenate([*empty, *(grams.hashes for grams in found)])
        checks = np.concatenate(
            [*empty, *(check_hashes(grams.words, first_words(grams)) for grams in found)]
        )
        distinct, first = np.unique(hashes, return_index=True)
        return cls(distinct, checks[first])

    def find(self, grams: Ngrams) -> tuple[Integers, Integers]:
        """Find the 8-grams of some texts that are in the set.

        Returns:
            The positions in `grams.hashes` and the numbers in the set of those found, both
            (found,), in the order of the texts.
        """
        numbers = np.empty(len(grams.hashes), np.int32)
        _find(self.hashes, self._slots, self._sieve, grams.hashes, numbers)
        at = np.flatnonzero(numbers >= 0)
        sure = self.checks[numbers[at]] == check_hashes(grams.words, first_words(grams)[at])
        return at[sure], numbers[at[sure]].astype(np.int64)


def first_words(grams: Ngrams) -> Integers:
    """Return the position in `grams.words` at which each 8-gram begins."""
    shift = grams.word_offsets[:-1] - grams.offsets[:-1]
    return np.arange(len(grams.hashes)) + np.repeat(shift, np.diff(grams.offsets))


@njit(nogil=True, cache=True)
def _fill(hashes: Hashes, slots: Slots, sieve: Hashes) -> None:
    """Fill the hash table (open addressing) and the sieve of leading bits."""
    mask = len(slots) - 1
    for number in range(len(hashes)):
        bit = hashes[number] >> U(64 - _SIEVE_BITS)
        sieve[bit >> U(6)] |= U(1) << (bit & U(63))
        slot = np.int64(hashes[number] & U(mask))
        while slots[slot] >= 0:
            slot = (slot + 1) & mask
        slots[slot] = number


@njit(nogil=True, cache=True)
def _find(known: Hashes, slots: Slots, sieve: Hashes, hashes: Hashes, numbers: Slots) -> None:
    """Write the number of each hash in the set to `numbers`, -1 where it is absent."""
    mask = len(slots) - 1
    for at in range(len(hashes)):
        numbers[at] = -1
        bit = hashes[at] >> U(64 - _SIEVE_BITS)
        if not (sieve[bit >> U(6)] >> (bit & U(63))) & U(1):
            continue
        slot = np.int64(hashes[at] & U(mask))
        while slots[slot] >= 0:
            if known[slots[slot]] == hashes[at]:
                numbers[at] = slots[slot]
                break
            slot = (slot + 1) & mask
