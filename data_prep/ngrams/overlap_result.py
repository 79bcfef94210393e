"""What was found of a test set: the figures of Table 6, of each sample, and who holds it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from data_prep.ngrams.hashing import NGRAM, Ngrams
from data_prep.ngrams.scan import Scan
from data_prep.ngrams.testsets import TestSet
from data_prep.ngrams.word_passes import word_spans

SURELY_PART = 10_000
"""Distinct 8-grams from which a test set that is in train as a whole is said to be part of it."""


@dataclass(frozen=True)
class Overlap:
    """Which of a test set's 8-grams are in train.

    Attributes:
        found: of each occurrence, bool.
        unique, unique_found: distinct 8-grams, and how many of them are found.
        bound: the false-positive rate with which it was asked.
    """

    found: np.ndarray
    unique: int
    unique_found: int
    bound: float


@dataclass
class TestResult:
    """A test set with its 8-grams and what is known of them.

    Attributes:
        grams: its 8-grams.
        which: of each occurrence, its place among the distinct 8-grams of all test sets.
        by_train, by_test: the two directions, where they were asked.
        after_removal: what documents under the threshold alone hold.
        note: what must be said beside the figures.
    """

    test: TestSet
    grams: Ngrams
    which: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    by_train: Overlap | None = None
    by_test: Overlap | None = None
    after_removal: Overlap | None = None
    note: str = ""

    __test__ = False  # pytest: not a class of tests

    @classmethod
    def of(cls, test: TestSet, grams: Ngrams) -> "TestResult":
        """A result without answers yet; notes what has no 8-grams to ask for."""
        note = ""
        if not len(test.texts):
            note = "empty: it has no text"
        elif not len(grams.hashes):
            note = f"no sample has {NGRAM} words, so there is no {NGRAM}-gram to look for"
        result = cls(test, grams)
        result._add_note(note)
        for reason, count in sorted(test.rejected.items()):
            result._add_note(f"left out: {count:,} ({reason})")
        return result

    def _add_note(self, note: str) -> None:
        self.note = "; ".join(filter(None, (self.note, note)))

    @property
    def name(self) -> str:
        """What the user calls the test set."""
        return self.test.name

    @property
    def main(self) -> Overlap:
        """The paper's direction where it was asked, else the inverse."""
        asked = self.by_train or self.by_test
        assert asked is not None  # noqa: S101 - one direction at least was asked
        return asked

    def note_likeness(self, train: set[str]) -> None:
        """Note where the test set is in the training set; `train` are file hashes."""
        same = sum(entry["xxh3"] in train for entry in self.test.inputs)
        if not len(self.grams.hashes):
            return
        if same:
            which = "is" if same == len(self.test.inputs) else f"{same} of its files are"
            self._add_note(f"{which} among the training files themselves")
        elif self.main.found.all():
            beyond_chance = self.main.unique >= SURELY_PART
            self._add_note(
                f"every {NGRAM}-gram is in train"
                + (": it is the training set, or part of it" if beyond_chance else "")
            )

    def shares(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each sample that has 8-grams: its number, its 8-grams, and how many are in train."""
        sizes = np.diff(self.grams.offsets)
        ends = np.concatenate(([0], np.cumsum(self.main.found)))
        found = ends[self.grams.offsets[1:]] - ends[self.grams.offsets[:-1]]
        long_enough = np.flatnonzero(sizes)
        return long_enough, sizes[long_enough], found[long_enough]

    def passages(self, sample: int) -> list[str]:
        """The runs of words of a sample that are in train, longest first, as they stand there."""
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

    def record(self) -> dict[str, Any]:
        """All figures as plain values, for the manifest."""
        record: dict[str, Any] = {
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

    def figures(self, overlap: Overlap) -> dict[str, Any]:
        """The figures of overlap.json: percent is Table 6's; null where there are no 8-grams."""
        total, found = len(overlap.found), int(overlap.found.sum())
        figures: dict[str, Any] = {
            "ngrams": total,
            "overlapping": found,
            "percent": 100 * found / total if total else None,
            "percent_unique": 100 * overlap.unique_found / overlap.unique if total else None,
            "false_positive_bound": overlap.bound,
        }
        return figures | ({"note": self.note} if self.note else {})


def overlap_of(result: TestResult, found: np.ndarray, bound: float) -> Overlap:
    """A test set's overlap, given which of all distinct 8-grams are in train."""
    distinct = np.unique(result.which)
    return Overlap(found[result.which], len(distinct), int(found[distinct].sum()), bound)


class Holders:
    """Which training documents hold an 8-gram.

    Args:
        scans: of the training files.
        files: their names, in the same order.
    """

    def __init__(self, scans: Sequence[Scan], files: Sequence[str]) -> None:
        self.scans, self.files = scans, files
        pairs = [
            np.column_stack((s.holders, np.full(len(s.holders), n))) for n, s in enumerate(scans)
        ]
        table = np.concatenate([np.empty((0, 3), np.int64), *pairs])
        self._pairs = table[np.argsort(table[:, 0], kind="stable")]

    def of(self, grams: np.ndarray, most: int) -> list[tuple[str, int]]:
        """The training documents that hold most of some distinct 8-grams, and how many."""
        counts: Counter[tuple[int, int]] = Counter()
        for gram in np.unique(grams):
            first, last = np.searchsorted(self._pairs[:, 0], (gram, gram + 1))
            counts.update((int(f), int(d)) for _, d, f in self._pairs[first:last])
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]
        return [(self.scans[f].names[d], count) for (f, d), count in ordered]
