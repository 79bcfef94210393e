"""Each schedule, compared with its formula."""

import math

import pytest

from webtext_gpt.training.schedule import constant, cosine, decay_start, inverse_sqrt, linear, wsd


def test_warm_up_is_linear_and_reaches_the_peak() -> None:
    for schedule in (cosine, linear, inverse_sqrt, constant, wsd):
        factors = [schedule(s, warmup_steps=4, total_steps=100) for s in range(4)]
        assert factors == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_cosine() -> None:
    def at(step: int) -> float:
        return cosine(step, warmup_steps=10, total_steps=110, min_ratio=0.1)

    assert at(10) == pytest.approx(1.0)
    assert at(60) == pytest.approx(0.55)  # half way between 1 and 0.1
    assert at(35) == pytest.approx(0.1 + 0.9 * (1 + math.sqrt(0.5)) / 2)  # a quarter: cos 45°
    assert at(110) == pytest.approx(0.1)
    assert at(500) == pytest.approx(0.1)


def test_linear() -> None:
    def at(step: int) -> float:
        return linear(step, warmup_steps=10, total_steps=110, min_ratio=0.2)

    assert at(10) == pytest.approx(1.0)
    assert at(35) == pytest.approx(0.8)
    assert at(110) == pytest.approx(0.2)
    assert at(111) == pytest.approx(0.2)


@pytest.mark.parametrize("n", [1, 17, 3999, 4000, 4001, 100_000])
def test_inverse_sqrt_is_vaswanis_formula(n: int) -> None:
    width, warmup = 512, 4000
    paper = width**-0.5 * min(n**-0.5, n * warmup**-1.5)
    peak = (width * warmup) ** -0.5
    assert peak * inverse_sqrt(n - 1, warmup_steps=warmup) == pytest.approx(paper)


@pytest.mark.parametrize(
    ("form", "quarter", "half"),
    [
        ("linear", 0.75, 0.5),
        ("cosine", (1 + math.sqrt(0.5)) / 2, 0.5),  # cos 45 degrees, cos 90 degrees
        ("sqrt", 0.5, 1 - math.sqrt(0.5)),  # 1 - sqrt((n - 80) / 20)
    ],
)
def test_wsd(form: str, quarter: float, half: float) -> None:
    """100 steps: 10 of warm-up, and the last 20 of decay to a tenth of the peak."""

    def at(step: int) -> float:
        share = {"warmup_steps": 10, "decay_ratio": 0.2}
        return wsd(step, total_steps=100, decay_form=form, min_ratio=0.1, **share)

    assert at(4) == pytest.approx(0.5)
    assert [at(step) for step in (9, 10, 50, 79, 80)] == [1.0] * 5
    assert at(85) == pytest.approx(0.1 + 0.9 * quarter)
    assert at(90) == pytest.approx(0.1 + 0.9 * half)
    assert at(100) == pytest.approx(0.1)
    assert at(101) == pytest.approx(0.1)


def test_wsd_does_not_decay_in_warm_up() -> None:
    share = {"warmup_steps": 8, "decay_ratio": 0.5}
    assert decay_start(10, **share) == 8
    assert [wsd(step, total_steps=10, **share) for step in (7, 8, 9)] == [1.0, 1.0, 0.5]
    assert wsd(3, total_steps=4, **share) == 0.5  # a run that ends in warm-up


def test_constant() -> None:
    assert constant(10**6, warmup_steps=4) == 1.0
    assert constant(0) == 1.0
