"""Choice of a model for a size and for a time, under a law and speeds made up for the tests."""

import pytest

from webtext_gpt.dial import fitted
from webtext_gpt.dial.choice import largest_shape, plan_budget, shape_of
from webtext_gpt.dial.laws import Cost, LossLaw, Shape
from webtext_gpt.dial.speed import speed_of
from webtext_gpt.errors import UserError


@pytest.fixture(autouse=True)
def _law(monkeypatch: pytest.MonkeyPatch) -> None:
    """L = 1 + 100 / N^0.5 + 10,000 / D^0.5, fitted from depth 2 to 5 and from 10,000 tokens on."""
    monkeypatch.setattr(fitted, "LOSS", LossLaw(1.0, 100.0, 0.5, 10_000.0, 0.5))
    monkeypatch.setattr(fitted, "SMALLEST", Shape(2))
    monkeypatch.setattr(fitted, "LARGEST", Shape(5))
    monkeypatch.setattr(fitted, "FEWEST_TOKENS", 10_000)
    monkeypatch.setattr(fitted, "EXTRAPOLATION", 10)


def _tokens_per_minute(shape: Shape) -> float:
    return 1e12 / shape.size  # 10.2 M for depth 2, 1.27 M for depth 4


def test_size_outside_the_range_is_refused() -> None:
    # 12,288 10^3 = 12.3 M is within ten times 12,288 5^3 = 1.5 M; 12,288 11^3 = 16.4 M is not
    assert largest_shape() == Shape(10)
    assert shape_of(98_304) == Shape(2)
    assert shape_of(12_288_000) == Shape(10)
    for size in (98_303, 12_288_001):
        with pytest.raises(UserError, match=rf"size={size} .*98,304 to 12,288,000"):
            shape_of(size)


def test_budget_takes_the_best_model() -> None:
    """N D = 10^12 minutes: 100 / N^0.5 + 0.01 N^0.5 / minutes^0.5 is least at N = 10^4 minutes^0.5.

    That is 786,432, depth 4, for (78.6)^2 = 6,185 minutes.
    """
    plan = plan_budget(6185, _tokens_per_minute)
    assert plan.shape == Shape(4)
    assert plan.tokens == pytest.approx(6185 * 1e12 / 786_432)


def test_budget_outside_the_range_is_refused() -> None:
    # the smallest model has 10,000 tokens after 10,000 x 98,304 / 10^12 minutes = 0.059 s
    with pytest.raises(UserError, match=r"budget=0\.0009 .*0\.00098 minutes or more"):
        plan_budget(0.0009, _tokens_per_minute)
    # depths 10 and 11 are equally good where N = sqrt(12,288,000 x 16,355,328) = 14.18 M:
    # (14.18 M / 10^4)^2 = 2.01 M minutes
    with pytest.raises(UserError, match=r"budget=3e\+06 .* (1\.9[89]|2|2\.0\d)e\+06 minutes or l"):
        plan_budget(3e6, _tokens_per_minute)
    assert plan_budget(1.98e6, _tokens_per_minute).shape == Shape(10)


def test_speed_from_two_times() -> None:
    """Times that were made with 2 us a layer and 1 ns per 1,000 operations give these back."""
    cost = Cost(4096, 256)
    times = {s: 2e-6 * s.n_layer + 1e-12 * cost.flops(s) for s in (Shape(3), Shape(6))}
    speed = speed_of(times, cost)
    assert speed.seconds_per_layer == pytest.approx(2e-6)
    assert speed.seconds_per_flop == pytest.approx(1e-12)
    assert speed.seconds(Shape(9), cost) == pytest.approx(18e-6 + 1e-12 * cost.flops(Shape(9)))


def test_speed_is_never_negative() -> None:
    cost = Cost(4096, 256)
    speed = speed_of({Shape(3): 1.0, Shape(6): 1.5}, cost)  # faster than its layers alone
    assert (speed.seconds_per_layer, speed.seconds_per_flop) == (0, 1.5 / cost.flops(Shape(6)))
