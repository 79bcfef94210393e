"""Errors and paired tests of a comparison, against scipy and figures worked out by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from webtext_gpt.evaluation.corpora.ranking import (
    Figure,
    compare,
    error_between_seeds,
    holm,
    ranked,
)


def _figure(
    examples: dict[str, list] | None = None, *, lower: bool = True, **values: list[float]
) -> Figure:
    sets = {name: [np.array(one) for one in own] for name, own in (examples or {}).items()}
    return Figure("f", lower, {name: np.array(own) for name, own in values.items()}, sets)


def test_two_corpora_are_compared_by_a_paired_t_test() -> None:
    """The pooled residual variance of two corpora is that of their differences."""
    a, b = [1.0, 1.2, 1.1, 1.4], [1.3, 1.4, 1.5, 1.5]
    (found,) = compare(_figure(worse=b, better=a))
    expected = stats.ttest_rel(a, b)
    assert (found.better, found.worse) == ("better", "worse")
    assert found.difference == pytest.approx(-0.25)
    assert found.error_of_seeds == pytest.approx(np.std(np.subtract(a, b), ddof=1) / 2)
    assert found.p == found.p_corrected == pytest.approx(expected.pvalue, rel=1e-6)
    assert found.error_of_examples is None
    assert found.is_distinguishable == (expected.pvalue < 0.05)


def test_the_variance_between_seeds_is_pooled_over_the_corpora() -> None:
    """Rows 1 3, 4 4, 7 5 have means 2, 4, 6, all columns 4: residuals -1 1, 0 0, 1 -1."""
    figure = _figure(a=[1.0, 3.0], b=[4.0, 4.0], c=[7.0, 5.0])
    assert error_between_seeds(figure) == pytest.approx(math.sqrt(4 / (2 * 1) / 2))
    assert all(one.error_of_seeds == pytest.approx(math.sqrt(2)) for one in compare(figure))


def test_examples_add_to_the_variance_of_a_difference() -> None:
    """Two sets: the differences 0 2 and 1 1 4 have variances 2 and 3, so 2/2/4 + 3/3/4 = 1/2.

    With seeds that agree, only the examples are left, with (1/2)² / ((1/4)² / 1 + (1/4)² / 2) =
    8/3 degrees of freedom, cut to 2.
    """
    examples = {
        "a": [[[1.0, 3.0]] * 2, [[5.0, 5.0, 5.0]] * 2],
        "b": [[[1.0, 1.0]] * 2, [[4.0, 4.0, 1.0]] * 2],
    }
    (found,) = compare(_figure(examples, lower=False, a=[3.5, 3.5], b=[2.0, 2.0]))
    assert found.better == "a"
    assert found.error_of_seeds == 0
    assert found.error_of_examples == pytest.approx(math.sqrt(1 / 2))
    assert found.p == pytest.approx(2 * stats.t.sf(1.5 / math.sqrt(1 / 2), 2), rel=1e-5)


def test_one_seed_gives_no_verdict() -> None:
    examples = {"a": [[[1.0, 2.0, 1.0]]], "b": [[[3.0, 5.0, 4.0]]]}
    (found,) = compare(_figure(examples, a=[4 / 3], b=[4.0]))
    assert found.p is None
    assert found.error_of_seeds is None
    assert not found.is_distinguishable
    assert found.error_of_examples == pytest.approx(np.std([2, 3, 3], ddof=1) / math.sqrt(3))


def test_equal_corpora_are_not_distinguishable() -> None:
    (found,) = compare(_figure(a=[1.0, 2.0], b=[1.0, 2.0]))
    assert found.p == 1.0
    assert not found.is_distinguishable


def test_p_values_are_corrected_for_all_pairs() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_better_corpus_comes_first() -> None:
    values = {"a": [2.0, 2.0], "b": [1.0, 2.0], "c": [3.0, 3.0]}
    assert ranked(_figure(**values)) == ["b", "a", "c"]
    assert ranked(_figure(lower=False, **values)) == ["c", "a", "b"]
    assert [(d.better, d.worse) for d in compare(_figure(**values))] == [
        ("b", "a"),
        ("b", "c"),
        ("a", "c"),
    ]
