"""The paper's direction: which 8-grams of the test sets are in a Bloom filter of train."""

from collections import Counter
from pathlib import Path
from typing import TypedDict

from data_prep.ngrams.bloom import BloomFilter
from data_prep.ngrams.bloom_size import blocks_for
from data_prep.ngrams.measurement import Measurement, TrainCounts
from data_prep.ngrams.overlap_result import overlap_of
from data_prep.ngrams.train_filter import build_filter, count_ngrams


class CountRecord(TypedDict):
    """Record of the counting pass.

    Attributes:
        items: Distinct 8-grams that the filter should have room for.
        ngrams: 8-grams, repeats included.
        documents: Documents read.
        rejected: Rows without text, by reason.
    """

    items: int
    ngrams: int
    documents: int
    rejected: dict[str, int]


def look_up_tests(run: Measurement, given: Path | None, keep: bool) -> TrainCounts:
    """Look up the 8-grams of the test sets in the filter of train.

    Args:
        run: The measurement; its results receive `by_train`.
        given: An existing filter. None means to build one.
        keep: Whether a filter that is built here stays in the output folder, as `train.bloom`.

    Returns:
        Counts over train; zeros if `given` is used.
    """
    counts = TrainCounts()
    file = given or (run.ledger.out if keep else run.ledger.work) / "train.bloom"
    if given is None:
        record = run.ledger.run_unit("count", lambda: _count(run))
        counts = TrainCounts(
            record["documents"], record["ngrams"], rejected=Counter(record["rejected"])
        )
        if not file.exists():
            build_filter(
                run.paths, run.rules.layout,
                blocks_for(max(record["items"], 1), run.rules.rate),
                workers_at_once=run.workers_at_once, engine=run.engine, scratch=run.ledger.work,
            ).save(file)  # fmt: skip
    bloom = BloomFilter.load(file)
    found = bloom.contains(run.exact.hashes)
    bound = max(run.rules.rate if given is None else 0.0, bloom.false_positive_rate())
    for result in run.results:
        result.by_train = overlap_of(result, found, bound)
    return counts


def _count(run: Measurement) -> CountRecord:
    count = count_ngrams(run.paths, run.rules.layout, run.workers_at_once, run.engine)
    return {
        "items": count.capacity(), "ngrams": count.ngrams,
        "documents": count.documents, "rejected": dict(count.rejected),
    }  # fmt: skip
