"""Each schedule, compared with its formula."""

import math

import pytest

from webtext_gpt.training.schedule import constant, cosine, inverse_sqrt, linear


def test_warm_up_is_linear_and_reaches_the_peak() -> None:
    for schedule in (cosine, linear, inverse_sqrt, constant):
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


def test_constant() -> None:
    assert constant(10**6, warmup_steps=4) == 1.0
    assert constant(0) == 1.0
