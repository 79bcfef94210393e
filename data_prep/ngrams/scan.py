"""Scan of one training file for 8-grams of the test sets."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from data_prep.ngrams.arrays import Flags, Hashes, Integers
from data_prep.ngrams.exact_set import ExactSet
from data_prep.ngrams.hashing import ngrams
from data_prep.stage.readers import Layout, TextBatch, batches

HOLDERS = 8
"""Maximum training documents per file that are recorded for one 8-gram; all are counted."""


@dataclass
class Scan:
    """Result for one training file.

    Attributes:
        grams: Numbers of the file's 8-grams in the exact set, ascending.
        times: Occurrences of each of them in the file.
        left: Occurrences of each of them in documents under the threshold.
        holders: Pairs of an 8-gram and a document that holds it, (pairs, 2); at most `HOLDERS` for
            an 8-gram.
        names: Names of the documents that hold any 8-gram of the set.
        shared: Distinct 8-grams of each test set in each of these documents, (documents, tests).
        sizes: Number of 8-grams in each of these documents.
        stays: Whether each of these documents is under the threshold.
        counts: Documents, 8-grams (`ngrams`), documents over the threshold (`removed`), and rows
            without text by reason.
    """

    grams: Integers
    times: Integers
    left: Integers
    holders: Integers
    names: list[str]
    shared: Integers
    sizes: Integers
    stays: Flags
    counts: Counter[str]

    def save(self, path: Path) -> None:
        """Write everything to one `.npz` file, without pickles."""
        # As JSON: an array of strings would give each of them the size of the longest.
        names = np.frombuffer(json.dumps(self.names).encode(), np.uint8)
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
        """Read a file that `save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            counts = Counter(
                dict(zip(stored["keys"].tolist(), stored["values"].tolist(), strict=True))
            )
            return cls(
                stored["grams"], stored["times"], stored["left"], stored["holders"],
                json.loads(stored["names"].tobytes()), stored["shared"], stored["sizes"],
                stored["stays"], counts,
            )  # fmt: skip


def scan_file(
    path: Path,
    layout: Layout,
    exact: ExactSet,
    members: Flags,
    threshold: int,
    on_bytes: Callable[[int], object],
    keep: Callable[[TextBatch, Flags], None] | None = None,
    on_hashes: Callable[[Hashes], object] | None = None,
) -> Scan:
    """Look up the 8-grams of every document of one training file in the set.

    Args:
        path: The training file.
        layout: Layout of the documents in it.
        exact: The set of the test sets' 8-grams.
        members: Which test sets hold which 8-gram, (tests, len(exact)).
        threshold: A document is over the threshold if it has at least this many distinct 8-grams
            of one test set.
        on_bytes: Called with the number of bytes read since its last call.
        keep: Called with each batch and which of its documents are under the threshold.
        on_hashes: Called with the hashes of the 8-grams of each batch.

    Raises:
        UserError: The file cannot be read.
    """
    tests = len(members)
    times, left = np.zeros(len(exact), np.int64), np.zeros(len(exact), np.int64)
    held = np.zeros(len(exact), np.int64)
    names, counts = list[str](), Counter[str]()
    holders, shared, sizes, stay = [], [], [], []
    for batch in batches(path, layout, on_bytes):
        grams = ngrams(batch.texts)
        if on_hashes is not None:
            on_hashes(grams.hashes)
        at, numbers = exact.find(grams)
        document = np.searchsorted(grams.offsets, at, "right") - 1
        np.add.at(times, numbers, 1)
        pairs = np.unique(np.stack((document, numbers), axis=1), axis=0)
        touched, rank = np.unique(pairs[:, 0], return_inverse=True)
        table = np.zeros((len(touched), tests), np.int64)
        for test in range(tests):
            table[:, test] = np.bincount(rank, members[test, pairs[:, 1]], len(touched))
        stays = (table < threshold).all(axis=1)
        of_batch = np.ones(len(batch.texts), np.bool_)
        of_batch[touched] = stays
        np.add.at(left, numbers[of_batch[document]], 1)
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
