"""The inverse of the paper's pass: the exact set of the test sets' 8-grams, asked of train.

Needs memory for the test sets alone, has no false positives, and tells which training documents
hold an 8-gram. An 8-gram counts as found if two 64-bit hashes of different kinds agree.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numba import njit

from data_prep.ngrams.bits import U
from data_prep.ngrams.hashing import Ngrams, check_hashes, ngrams
from data_prep.stage.readers import Layout, batches

HOLDERS = 8
"""Training documents remembered of one 8-gram; all are counted."""

_SIEVE_BITS = 24  # 2 MB, which stay in the second cache: nearly all strangers end there


class ExactSet:
    """Distinct 8-grams, each by its place in the order of their hashes.

    Args:
        hashes: distinct 8-gram hashes, ascending.
        checks: a second hash of each.
    """

    def __init__(self, hashes: np.ndarray, checks: np.ndarray) -> None:
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
        """The distinct 8-grams of several collections of texts."""
        empty = [np.empty(0, np.uint64)]
        hashes = np.concatenate([*empty, *(grams.hashes for grams in found)])
        checks = np.concatenate(
            [*empty, *(check_hashes(grams.words, first_words(grams)) for grams in found)]
        )
        distinct, first = np.unique(hashes, return_index=True)
        return cls(distinct, checks[first])

    def find(self, grams: Ngrams) -> tuple[np.ndarray, np.ndarray]:
        """Which of the texts' 8-grams are in the set: where in `grams.hashes`, and which they are.

        Both int64, (found,), in the order of the texts.
        """
        which = np.empty(len(grams.hashes), np.int32)
        _find(self.hashes, self._slots, self._sieve, grams.hashes, which)
        at = np.flatnonzero(which >= 0)
        sure = self.checks[which[at]] == check_hashes(grams.words, first_words(grams)[at])
        return at[sure], which[at[sure]].astype(np.int64)


def first_words(grams: Ngrams) -> np.ndarray:
    """Where in `grams.words` each 8-gram begins."""
    shift = grams.word_offsets[:-1] - grams.offsets[:-1]
    return np.arange(len(grams.hashes)) + np.repeat(shift, np.diff(grams.offsets))


@dataclass
class Scan:
    """What one training file holds of the set.

    Attributes:
        grams: those of the set's 8-grams that the file holds, ascending.
        times: occurrences in the file of each of them.
        left: the same, in documents that stay.
        holders: (pairs, 2): 8-gram and document, `HOLDERS` of an 8-gram at most.
        names: of the documents that hold any.
        shared: (documents, tests): distinct 8-grams of a test set in each of these documents.
        sizes: 8-grams in each of these documents.
        stays: whether each of these documents is under the threshold.
        counts: documents, 8-grams, and rows that held no text by reason.
    """

    grams: np.ndarray
    times: np.ndarray
    left: np.ndarray
    holders: np.ndarray
    names: list[str]
    shared: np.ndarray
    sizes: np.ndarray
    stays: np.ndarray
    counts: Counter[str]

    def save(self, path: Path) -> None:
        """Write all of it to one `.npz`, without pickles."""
        names = np.array(self.names, np.str_)
        keys = np.array(list(self.counts), np.str_)
        values = np.array(list(self.counts.values()), np.int64)
        with path.open("wb") as file:
            np.savez_compressed(
                file, grams=self.grams, times=self.times, left=self.left, holders=self.holders,
                names=names, shared=self.shared, sizes=self.sizes, stays=self.stays,
                keys=keys, values=values,
            )  # fmt: skip

    @classmethod
    def load(cls, path: Path) -> "Scan":
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            counts = Counter(
                dict(zip(stored["keys"].tolist(), stored["values"].tolist(), strict=True))
            )
            return cls(
                stored["grams"], stored["times"], stored["left"], stored["holders"],
                stored["names"].tolist(), stored["shared"], stored["sizes"], stored["stays"],
                counts,
            )  # fmt: skip


def scan_file(
    path: Path,
    layout: Layout,
    exact: ExactSet,
    members: np.ndarray,
    threshold: int,
    on_bytes: Callable[[int], None],
    keep: Callable[[Any, np.ndarray], None] | None = None,
) -> Scan:
    """Ask every document of a training file for the 8-grams of the set.

    `members` (tests, len(exact)) says which test set an 8-gram is of. A document that holds
    `threshold` distinct 8-grams of one test set does not stay. `keep(batch, stays)` is told of
    each batch which of its documents stay.
    """
    tests = len(members)
    times, left = np.zeros(len(exact), np.int64), np.zeros(len(exact), np.int64)
    held = np.zeros(len(exact), np.int64)
    names, counts = list[str](), Counter[str]()
    holders, shared, sizes, stay = [], [], [], []
    for batch in batches(path, layout, on_bytes):
        grams = ngrams(batch.texts)
        at, which = exact.find(grams)
        document = np.searchsorted(grams.offsets, at, "right") - 1
        np.add.at(times, which, 1)
        pairs = np.unique(np.stack((document, which), axis=1), axis=0)
        touched, rank = np.unique(pairs[:, 0], return_inverse=True)
        table = np.zeros((len(touched), tests), np.int64)
        for test in range(tests):
            table[:, test] = np.bincount(rank, members[test, pairs[:, 1]], len(touched))
        stays = (table < threshold).all(axis=1)
        of_batch = np.ones(len(batch.texts), np.bool_)
        of_batch[touched] = stays
        np.add.at(left, which[of_batch[document]], 1)
        new = np.stack((pairs[:, 1], rank + len(names)), axis=1)
        for gram, holder in new[held[new[:, 0]] < HOLDERS]:
            if held[gram] < HOLDERS:
                holders.append((gram, holder))
                held[gram] += 1
        names += batch.names.take(pa.array(touched)).to_pylist()
        shared.append(table)
        sizes.append(np.diff(grams.offsets)[touched])
        stay.append(stays)
        counts.update(batch.rejected)
        counts.update(documents=len(batch.texts), ngrams=len(grams.hashes))
        counts["removed"] += int((~stays).sum())
        if keep is not None:
            keep(batch, of_batch)
    none, some = np.empty(0, np.int64), np.flatnonzero(times)
    return Scan(
        some, times[some], left[some], np.array(holders, np.int64).reshape(-1, 2), names,
        np.concatenate([none.reshape(0, tests), *shared]), np.concatenate([none, *sizes]),
        np.concatenate([none.astype(np.bool_), *stay]), counts,
    )  # fmt: skip


@njit(nogil=True, cache=True)
def _fill(hashes: Any, slots: Any, sieve: Any) -> None:
    mask = len(slots) - 1
    for number in range(len(hashes)):
        bit = hashes[number] >> U(64 - _SIEVE_BITS)
        sieve[bit >> U(6)] |= U(1) << (bit & U(63))
        slot = np.int64(hashes[number] & U(mask))
        while slots[slot] >= 0:
            slot = (slot + 1) & mask
        slots[slot] = number


@njit(nogil=True, cache=True)
def _find(known: Any, slots: Any, sieve: Any, hashes: Any, which: Any) -> None:
    mask = len(slots) - 1
    for at in range(len(hashes)):
        which[at] = -1
        bit = hashes[at] >> U(64 - _SIEVE_BITS)
        if not (sieve[bit >> U(6)] >> (bit & U(63))) & U(1):
            continue
        slot = np.int64(hashes[at] & U(mask))
        while slots[slot] >= 0:
            if known[slots[slot]] == hashes[at]:
                which[at] = slots[slot]
                break
            slot = (slot + 1) & mask
