"""The counted order of a mixture's sources."""

import random
from fractions import Fraction

import numpy as np
import pytest

from webtext_gpt.data.shares import LONGEST_PERIOD, CountedPattern, whole_parts


def _fractions(*weights: object) -> list[Fraction]:
    return [Fraction(str(weight)) for weight in weights]


@pytest.mark.parametrize(
    ("weights", "parts"),
    [
        ([2, 1, 1], [2, 1, 1]),
        ([4, 2, 2], [2, 1, 1]),
        ([0.5, 0.3, 0.2], [5, 3, 2]),
        ([1e-3, 0.999], [1, 999]),
        ([7], [1]),
        ([0.1, 0.1, 0.1], [1, 1, 1]),
        ([1e300, 1e300], [1, 1]),
    ],
)
def test_weights_become_the_smallest_whole_numbers(weights: list, parts: list[int]) -> None:
    assert whole_parts(_fractions(*weights)) == parts


def test_parts_of_a_longest_period_are_rounded_by_largest_remainders() -> None:
    # 10 x 5, 3, 2, 1 of 11: 4.5, 2.7, 1.8, 0.9; whole 4, 2, 1, 0, and the last is at least 1;
    # the two places left go to 0.8 and 0.7.
    assert whole_parts(_fractions(5, 3, 2, 1), longest=10) == [4, 3, 2, 1]
    assert whole_parts(_fractions(10**6, 1, 1, 1), longest=10) == [7, 1, 1, 1]
    parts = whole_parts(_fractions(*[1] * 11), longest=11)
    assert parts == [1] * 11


def test_a_small_pattern_worked_out_by_hand() -> None:
    """Source 0 is due first; then it is not behind; then 0 and 2 are due; ties by number."""
    pattern = CountedPattern([2, 1, 1])
    assert [pattern.locate(k) for k in range(6)] == [(0, 0), (1, 0), (0, 1), (2, 0), (0, 2), (1, 1)]
    assert [pattern.counts(n) for n in range(5)] == [
        [0, 0, 0],
        [1, 0, 0],
        [1, 1, 0],
        [2, 1, 0],
        [2, 1, 1],
    ]
    assert pattern.counts(10**9 + 2) == [500_000_001, 250_000_001, 250_000_000]


def test_every_count_is_within_one_of_the_weights() -> None:
    """Within Tijdeman's bound, 1 - 1 / (2 s - 2), which no order can improve for all weights."""
    draw = random.Random(0)
    for _ in range(60):
        weights = [
            draw.choice([1, 1, 2, 3, draw.randint(1, 90)]) for _ in range(draw.randint(1, 9))
        ]
        total = sum(weights)
        bound = 1 - Fraction(1, max(1, 2 * len(weights) - 2))
        pattern = CountedPattern(whole_parts(_fractions(*weights)))
        counts = np.zeros(len(weights), int)
        for n in range(2 * total):
            source, ordinal = pattern.locate(n)
            assert ordinal == counts[source]
            counts[source] += 1
            assert pattern.counts(n + 1) == counts.tolist()
            for count, weight in zip(counts.tolist(), weights, strict=True):
                assert abs(Fraction(count) - Fraction((n + 1) * weight, total)) <= bound


@pytest.mark.parametrize(
    "weights",
    [[2, 1, 1], [0.7, 0.2, 0.1], [1, 10, 100], [5_123_457, 48_123_451, 9_912_341], [1, 1.7, 0.31]],
)
def test_three_sources_are_within_one_after_ten_thousand_samples(weights: list) -> None:
    """Also where the shares are rounded to a period of 2^18."""
    pattern = CountedPattern(whole_parts(_fractions(*weights)))
    found = np.zeros((10_000, 3), int)
    found[np.arange(10_000), [pattern.locate(k)[0] for k in range(10_000)]] = 1
    n = np.arange(1, 10_001)[:, None]
    expected = n * np.array(weights) / sum(weights)
    assert np.abs(found.cumsum(axis=0) - expected).max() < 1


def test_samples_far_on_are_found_at_once() -> None:
    pattern = CountedPattern(whole_parts(_fractions(5_123_457, 48_123_451, 9_912_341)))
    assert pattern.period == LONGEST_PERIOD
    first = 10**12 + 12_345
    counts = pattern.counts(first)
    for k in range(first, first + 100):
        source, ordinal = pattern.locate(k)
        assert ordinal == counts[source]
        counts[source] += 1
    assert pattern.counts(first + 100) == counts
