"""One pass over train: its 8-grams are hashed once, for both directions.

They are looked up in the exact set of the test sets' 8-grams, counted, and stored for the filter.
"""

from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypedDict

import numpy as np

from data_prep.ngrams.arrays import Flags
from data_prep.ngrams.distinct import Count
from data_prep.ngrams.exact_set import ExactSet
from data_prep.ngrams.hash_file import HashWriter, read_registers
from data_prep.ngrams.measurement import Measurement, OverlapRules, TrainCounts
from data_prep.ngrams.overlap_result import overlap_of
from data_prep.ngrams.remainder import Remainder
from data_prep.ngrams.scan import Scan, scan_file
from data_prep.stage import workers
from data_prep.stage.inputs import InputFile
from webtext_gpt.errors import UserError
from webtext_gpt.files import replaced
from webtext_gpt.remote.uploads import WORK

PROCESS_BYTES = 1 << 27
"""Bytes of training data per process, since starting one costs two seconds of imports."""


class ScanRecord(TypedDict):
    """Record of one scanned file: its number of documents."""

    documents: int


@dataclass(frozen=True)
class TrainPass:
    """Result of the pass.

    Attributes:
        scans: A scan for each training file, in the order of `Measurement.files`; none with
            `direction=train`.
        counts: Counts over train.
        hashes: A file of hashes for each training file; none if no filter is built.
    """

    scans: list[Scan]
    counts: TrainCounts
    hashes: list[Path]

    def capacity(self) -> int:
        """Return the number of distinct 8-grams that a filter of train should have room for."""
        total = Count.empty()
        for path in self.hashes:
            total |= Count(read_registers(path), 0, 0)
        return Count(total.registers, self.counts.ngrams, 0).capacity()


def read_train(run: Measurement, for_filter: bool) -> TrainPass:
    """Read every training document, file by file.

    With `remove`, the documents under the threshold are written to the output folder.

    Args:
        run: The measurement; its results receive `by_test` and `after_removal`, except with
            `direction=train`.
        for_filter: Whether hashes are stored for a filter.

    Raises:
        UserError: A file cannot be read; or a filter is to be built, and there are documents, but
            none has an 8-gram.
    """
    is_exact = run.rules.direction != "train"
    exact = run.exact if is_exact else ExactSet.of([])
    members = np.zeros((len(run.results) if is_exact else 0, len(exact)), np.bool_)
    for row, result in zip(members, run.results, strict=False):
        row[result.which] = True
    read = partial(_read, out=run.ledger.out, exact=exact, members=members, rules=run.rules,
                   for_filter=for_filter)  # fmt: skip
    run.ledger.run_files(
        read, run.files, label="reading train", workers=_processes(run), engine=run.engine
    )
    scans = [Scan.load(_stored(run.ledger.out, file, ".npz")) for file in run.files]
    total = sum((one.counts for one in scans), Counter[str]())
    counts = TrainCounts(
        total.pop("documents", 0), total.pop("ngrams", 0), total.pop("removed", 0), total
    )
    hashes = [_stored(run.ledger.out, file, ".hashes") for file in run.files if for_filter]
    if for_filter and counts.documents and not counts.ngrams:
        raise UserError(f"train: no document in {run.paths[0]} or the other files has 8 words")
    if is_exact:
        _fill_results(run, scans)
    return TrainPass(scans if is_exact else [], counts, hashes)


def _fill_results(run: Measurement, scans: list[Scan]) -> None:
    times, left = np.zeros((2, len(run.exact)), np.int64)
    for one in scans:
        times[one.grams] += one.times
        left[one.grams] += one.left
    for result in run.results:
        result.by_test = overlap_of(result, times > 0, 0.0)
        result.after_removal = overlap_of(result, left > 0, 0.0)


def _processes(run: Measurement) -> int | None:
    """Return the number of worker processes; this one alone reads a small train sooner."""
    if run.engine["name"] != "native":
        return run.workers_at_once
    useful = sum(file.size for file in run.files) // PROCESS_BYTES
    return min(run.workers_at_once or workers.cores(), max(useful, 1))


def _read(
    file: InputFile,
    out: Path,
    exact: ExactSet,
    members: Flags,
    rules: OverlapRules,
    for_filter: bool,
) -> ScanRecord:
    """Read one training file; the results go into `_work`."""
    with (
        replaced(_stored(out, file, ".npz")) as temporary,
        Remainder(out, file.hash) as rest,
        HashWriter(_stored(out, file, ".hashes") if for_filter else None) as hashes,
    ):
        scan = scan_file(
            file.path, rules.layout, exact, members, rules.threshold, workers.advance,
            keep=rest.keep if rules.remove else None,
            on_hashes=hashes.add if for_filter else None,
        )  # fmt: skip
        scan.save(temporary)
    return {"documents": scan.counts["documents"]}


def _stored(out: Path, file: InputFile, suffix: str) -> Path:
    return out / WORK / f"{file.hash}{suffix}"
