"""Settings and state of one overlap measurement."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import numpy as np

from data_prep.ngrams.bloom_size import RATE
from data_prep.ngrams.exact_set import ExactSet
from data_prep.ngrams.hashing import ngrams
from data_prep.ngrams.overlap_result import TestResult
from data_prep.ngrams.testsets import TestSet
from data_prep.stage.engine import Engine
from data_prep.stage.inputs import InputFile, by_content
from data_prep.stage.ledger import Ledger
from data_prep.stage.readers import Layout


@dataclass(frozen=True)
class OverlapRules:
    """Settings of a measurement that change its result.

    Attributes:
        direction: `train` (Bloom filter of train), `test` (exact set of the tests) or `both`.
        rate: False-positive rate of the Bloom filter.
        remove: Whether to write a copy of the corpus without documents over the threshold.
        threshold: A training document is over the threshold if it has at least this many distinct
            8-grams of one test set.
        layout: Layout of the documents in the training files.
        tests_layout: Layout of the samples in the test files. None means as in train.
        worst: Number of samples of each test set that the report shows.
    """

    direction: str = "both"
    rate: float = RATE
    remove: bool = False
    threshold: int = 1
    layout: Layout = field(default_factory=Layout)
    tests_layout: Layout | None = None
    worst: int = 5


@dataclass
class TrainCounts:
    """Counts over all training documents.

    Attributes:
        documents: Documents read.
        ngrams: 8-grams in them, repeats included.
        removed: Documents over the threshold.
        rejected: Rows without text, by reason.
    """

    documents: int = 0
    ngrams: int = 0
    removed: int = 0
    rejected: Counter[str] = field(default_factory=Counter)


class FilterFigures(TypedDict):
    """Figures of the filter in the manifest.

    Attributes:
        false_positive_rate: Its rate, by its bits.
        distinct: Distinct 8-grams in it, estimated from its bits.
        room: Distinct 8-grams that it was sized for; None if unknown.
        added: 8-grams added, repeats included.
        bytes: Size of its bits.
    """

    false_positive_rate: float
    distinct: int
    room: int | None
    added: int
    bytes: int


@dataclass(frozen=True)
class Measurement:
    """One measurement while it runs; its passes fill in `results`.

    Attributes:
        ledger: The output folder.
        files: Training files, in the order of their content hashes.
        rules: Settings.
        exact: Distinct 8-grams of all test sets.
        results: One for each test set.
        workers_at_once: Number of processes or threads. None means one per core.
        engine: Where the passes over train run.
        filter_memory: Most memory for the bits of a filter, in bytes. None means a share of the
            free memory. Changes no result.
    """

    ledger: Ledger
    files: list[InputFile]
    rules: OverlapRules
    exact: ExactSet
    results: list[TestResult]
    workers_at_once: int | None
    engine: Engine
    filter_memory: int | None

    @classmethod
    def begin(
        cls,
        ledger: Ledger,
        files: Sequence[InputFile],
        rules: OverlapRules,
        tests: Sequence[TestSet],
        workers_at_once: int | None,
        engine: Engine,
        filter_memory: int | None,
    ) -> "Measurement":
        """Hash the 8-grams of the test sets."""
        results = [TestResult.of(test, ngrams(test.texts)) for test in tests]
        exact = ExactSet.of([result.grams for result in results])
        for result in results:
            result.which = np.searchsorted(exact.hashes, result.grams.hashes)
        return cls(
            ledger, by_content(files), rules, exact, results, workers_at_once, engine, filter_memory
        )

    @property
    def paths(self) -> list[Path]:
        """Paths of the training files, sorted."""
        return sorted(file.path for file in self.files)
