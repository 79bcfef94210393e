"""The inverse direction: which training documents hold 8-grams of the exact set of the tests."""

from collections import Counter
from functools import partial
from pathlib import Path
from typing import TypedDict

import numpy as np

from data_prep.ngrams.arrays import Flags
from data_prep.ngrams.exact_set import ExactSet
from data_prep.ngrams.measurement import Measurement, OverlapRules, TrainCounts
from data_prep.ngrams.overlap_result import overlap_of
from data_prep.ngrams.remainder import Remainder
from data_prep.ngrams.scan import Scan, scan_file
from data_prep.stage import workers
from data_prep.stage.inputs import InputFile
from data_prep.stage.ledger import WORK
from webtext_gpt.files import replaced


class ScanRecord(TypedDict):
    """Record of one scanned file: its number of documents."""

    documents: int


def scan_train(run: Measurement) -> tuple[list[Scan], TrainCounts]:
    """Scan every training document for 8-grams of the test sets, file by file.

    With `remove`, the documents under the threshold are written to the output folder.

    Args:
        run: The measurement; its results receive `by_test` and `after_removal`.

    Returns:
        A scan for each training file, in the order of `run.files`, and counts over train.
    """
    members = np.zeros((len(run.results), len(run.exact)), np.bool_)
    for row, result in zip(members, run.results, strict=True):
        row[result.which] = True
    scan = partial(_scan, out=run.ledger.out, exact=run.exact, members=members, rules=run.rules)
    run.ledger.run_files(
        scan, run.files, label="scanning train", workers=run.workers_at_once, engine=run.engine
    )
    scans = [Scan.load(run.ledger.work / f"{file.hash}.npz") for file in run.files]
    times, left = np.zeros((2, len(run.exact)), np.int64)
    for one in scans:
        times[one.grams] += one.times
        left[one.grams] += one.left
    for result in run.results:
        result.by_test = overlap_of(result, times > 0, 0.0)
        result.after_removal = overlap_of(result, left > 0, 0.0)
    counts = sum((one.counts for one in scans), Counter[str]())
    return scans, TrainCounts(
        counts.pop("documents", 0), counts.pop("ngrams", 0), counts.pop("removed", 0), counts
    )


def _scan(
    file: InputFile, out: Path, exact: ExactSet, members: Flags, rules: OverlapRules
) -> ScanRecord:
    """Scan one training file into `_work`."""
    target = out / WORK / f"{file.hash}.npz"
    with replaced(target) as temporary, Remainder(out, file.hash) as rest:
        scan = scan_file(
            file.path, rules.layout, exact, members, rules.threshold, workers.advance,
            keep=rest.keep if rules.remove else None,
        )  # fmt: skip
        scan.save(temporary)
    return {"documents": scan.counts["documents"]}
