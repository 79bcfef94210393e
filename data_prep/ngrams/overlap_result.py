"""Overlap of one test set with train: in total (Table 6), by sample, and by training document."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NotRequired, TypedDict

import numpy as np

from data_prep.ngrams.arrays import Flags, Integers
from data_prep.ngrams.hashing import NGRAM, Ngrams
from data_prep.ngrams.scan import Scan
from data_prep.ngrams.testsets import TestSet
from data_prep.ngrams.word_passes import word_spans

BEYOND_CHANCE = 10_000
"""A test set of at least this many distinct 8-grams, all found, is reported as part of train."""


class Figures(TypedDict):
    """Figures of a test set in overlap.json; percentages are None if it has no 8-grams."""

    ngrams: int
    overlapping: int
    percent: float | None
    percent_unique: float | None
    false_positive_bound: float
    note: NotRequired[str]


@dataclass(frozen=True)
class Overlap:
    """8-grams of a test set that are in train.

    Attributes:
        found: Whether each 8-gram is in train, repeats included.
        unique: Number of distinct 8-grams.
        unique_found: Number of distinct 8-grams that are in train.
        bound: Upper bound on the false-positive rate of the lookup.
    """

    found: Flags
    unique: int
    unique_found: int
    bound: float


@dataclass
class TestResult:
    """A test set, its 8-grams, and their overlap with train.

    Attributes:
        test: The test set.
        grams: Its 8-grams.
        which: Number of each 8-gram in the exact set of all test sets, in the order of `grams`.
        by_train: Overlap by the paper's direction; None if it was not measured.
        by_test: Overlap by the inverse direction; None if it was not measured.
        after_removal: Overlap with the documents under the threshold; None if unknown.
        note: Remarks on the figures; "" if there are none.
    """

    test: TestSet
    grams: Ngrams
    which: Integers = field(default_factory=lambda: np.empty(0, np.int64))
    by_train: Overlap | None = None
    by_test: Overlap | None = None
    after_removal: Overlap | None = None
    note: str = ""

    __test__ = False  # pytest: not a class of tests

    @classmethod
    def of(cls, test: TestSet, grams: Ngrams) -> "TestResult":
        """Make a result without overlaps; note if there are no 8-grams to look up."""
        note = ""
        if not len(test.texts):
            note = "empty: it has no text"
        elif not len(grams.hashes):
            note = f"no sample has {NGRAM} words, so there is no {NGRAM}-gram to look up"
        result = cls(test, grams)
        result._add_note(note)
        for reason, count in sorted(test.rejected.items()):
            result._add_note(f"left out: {count:,} ({reason})")
        return result

    def _add_note(self, note: str) -> None:
        self.note = "; ".join(filter(None, (self.note, note)))

    @property
    def name(self) -> str:
        """Name of the test set in the report."""
        return self.test.name

    @cached_property
    def distinct(self) -> Integers:
        """Numbers of its distinct 8-grams in the exact set of all test sets, ascending."""
        return np.unique(self.which)

    @property
    def main(self) -> Overlap:
        """Overlap by the paper's direction if it was measured, else by the inverse."""
        overlap = self.by_train or self.by_test
        if overlap is None:
            raise RuntimeError(f"{self.name}: neither direction was measured")
        return overlap

    def note_if_in_train(self, train: set[str]) -> None:
        """Note if the test set itself is in the training set; `train` holds file hashes."""
        same = sum(entry["xxh3"] in train for entry in self.test.inputs)
        if not len(self.grams.hashes):
            return
        if same:
            which = "is" if same == len(self.test.inputs) else f"{same} of its files are"
            self._add_note(f"{which} among the training files themselves")
        elif self.main.found.all():
            beyond_chance = self.main.unique >= BEYOND_CHANCE
            self._add_note(
                f"every {NGRAM}-gram is in train"
                + (": it is the training set, or part of it" if beyond_chance else "")
            )

    def shares(self) -> tuple[Integers, Integers, Integers]:
        """Return the samples that have 8-grams: numbers, 8-grams, and 8-grams in train, (n,)."""
        sizes = np.diff(self.grams.offsets)
        ends = np.concatenate(([0], np.cumsum(self.main.found)))
        found = ends[self.grams.offsets[1:]] - ends[self.grams.offsets[:-1]]
        long_enough = np.flatnonzero(sizes)
        return long_enough, sizes[long_enough], found[long_enough]

    def passages(self, sample: int) -> list[str]:
        """Return a sample's passages that are in train, longest first, in the original spelling."""
        start, end = self.grams.offsets[sample : sample + 2]
        at = np.flatnonzero(self.main.found[start:end])
        if not len(at):
            return []
        text, words = word_spans(self.test.texts[sample].as_py())
        data = text.encode()
        runs = np.split(at, np.flatnonzero(np.diff(at) > 1) + 1)
        cut = [(words[run[0], 0], words[run[-1] + NGRAM - 1, 1]) for run in runs]
        cut.sort(key=lambda span: span[0] - span[1])
        return [data[begin:stop].decode() for begin, stop in cut]

    def record(self) -> dict[str, int | Figures]:
        """Return all figures as plain values, for the manifest."""
        record: dict[str, int | Figures] = {
            "samples": len(self.test.texts),
            "overlap": self.figures(self.main),
        }
        for key, overlap in (
            ("direction_train", self.by_train),
            ("direction_test", self.by_test),
            ("after_removal", self.after_removal),
        ):
            if overlap is not None:
                record[key] = self.figures(overlap)
        return record

    def figures(self, overlap: Overlap) -> Figures:
        """Return the figures of overlap.json: `percent` as in Table 6, None without 8-grams."""
        total, found = len(overlap.found), int(overlap.found.sum())
        figures: Figures = {
            "ngrams": total,
            "overlapping": found,
            "percent": 100 * found / total if total else None,
            "percent_unique": 100 * overlap.unique_found / overlap.unique if total else None,
            "false_positive_bound": overlap.bound,
        }
        if self.note:
            figures["note"] = self.note
        return figures


def overlap_of(result: TestResult, found: Flags, bound: float) -> Overlap:
    """Return a test set's overlap, given which 8-grams of the exact set are in train."""
    return Overlap(
        found[result.which], len(result.distinct), int(found[result.distinct].sum()), bound
    )


class Holders:
    """Index from 8-grams to the training documents that hold them.

    Args:
        scans: Scans of the training files.
        files: Names of these files, in the same order.
    """

    def __init__(self, scans: Sequence[Scan], files: Sequence[str]) -> None:
        self.scans, self.files = scans, files
        pairs = [
            np.column_stack((s.holders, np.full(len(s.holders), n))) for n, s in enumerate(scans)
        ]
        table = np.concatenate([np.empty((0, 3), np.int64), *pairs])
        self._pairs = table[np.argsort(table[:, 0], kind="stable")]

    def of(self, grams: Integers, most: int) -> list[tuple[str, int]]:
        """Return the training documents that hold the most of some 8-grams.

        Args:
            grams: Numbers of the 8-grams in the exact set; repeats count once.
            most: Number of documents to return.

        Returns:
            Names of documents, each with how many of the 8-grams it holds.
        """
        counts: Counter[tuple[int, int]] = Counter()
        for gram in np.unique(grams):
            first, last = np.searchsorted(self._pairs[:, 0], (gram, gram + 1))
            counts.update((int(f), int(d)) for _, d, f in self._pairs[first:last])
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]
        return [(self.scans[f].names[d], count) for (f, d), count in ordered]
