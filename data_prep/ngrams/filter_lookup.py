"""The paper's direction: look up the test sets' 8-grams in a Bloom filter of train."""

from pathlib import Path

import numpy as np

from data_prep.ngrams.arrays import Flags
from data_prep.ngrams.bloom import BloomFilter
from data_prep.ngrams.filter_passes import Answer
from data_prep.ngrams.measurement import FilterFigures, Measurement
from data_prep.ngrams.overlap_result import overlap_of
from webtext_gpt.errors import UserError

CHANCE = 1e-9
"""Maximum probability of refusing a sound filter."""


def open_filter(path: Path) -> BloomFilter:
    """Open an existing filter of train.

    Raises:
        UserError: The file is not a sound filter, or holds more than it was sized for.
    """
    bloom = BloomFilter.load(path)
    bloom.refuse_overfull(path)
    return bloom


def look_up_tests(run: Measurement, answer: Answer, given: Path | None) -> FilterFigures:
    """Record which 8-grams of the test sets the filter of train finds.

    Args:
        run: The measurement; its results receive `by_train`, and are compared with `by_test` if
            that was measured.
        answer: Answers of the filter.
        given: Its file, if it was not built here.

    Returns:
        Figures of the filter, for the manifest.

    Raises:
        UserError: The two directions contradict each other.
    """
    rate = answer.false_positive_rate
    bound = max(run.rules.rate if given is None else 0.0, rate)
    for result in run.results:
        result.by_train = overlap_of(result, answer.found, bound)
    if run.rules.direction == "both":
        compare(answer.found, _exactly(run), rate, given, run.ledger.out)
    return answer.figures()


def _exactly(run: Measurement) -> Flags:
    """Return which 8-grams of the exact set the other direction found in train."""
    exactly = np.zeros(len(run.exact), np.bool_)
    for result in run.results:
        if result.by_test is not None:
            exactly[result.which] = result.by_test.found
    return exactly


def compare(found: Flags, exactly: Flags, rate: float, given: Path | None, out: Path) -> None:
    """Refuse answers of the filter that no sound filter of train can give.

    A sound filter finds every 8-gram that train holds. The number of others that it finds is
    binomial, with the rate computed from its bits. It is refused if one at least as large has a
    probability below `CHANCE`.
    """
    from scipy.special import bdtrc

    name = str(given or "the filter built from train")
    advice = (
        "it is of other documents; build it again from these"
        if given
        else f"memory or disk failed; delete {out} and measure again"
    )
    if lost := int((exactly & ~found).sum()):
        raise UserError(
            f"{name} lacks {lost:,} of the {int(exactly.sum()):,} 8-grams of the tests that train "
            f"holds, but a filter of train has them all: {advice}"
        )
    extra, absent = int((found & ~exactly).sum()), int((~exactly).sum())
    if extra and bdtrc(extra - 1, absent, rate) < CHANCE:
        raise UserError(
            f"{name} finds {extra:,} of the {absent:,} 8-grams of the tests that train does not "
            f"hold. Its false-positive rate by its bits is {rate:.3g}, at which so many are found "
            f"with a probability below {CHANCE:g}: {advice}"
        )
