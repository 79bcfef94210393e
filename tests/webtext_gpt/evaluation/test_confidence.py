"""Standard errors and paired tests, against scipy, a permutation and a bootstrap."""

import itertools
import math
import random
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from webtext_gpt.evaluation import confidence
from webtext_gpt.evaluation.benchmark import Measurement, Options
from webtext_gpt.evaluation.blocks import BLOCK_CHARACTERS, score_running_text
from webtext_gpt.evaluation.registry import BENCHMARKS, SUITES
from webtext_gpt.evaluation.scoring import Scorer


def measurement(values: list[float], exponential: bool = False) -> Measurement:
    mean = sum(values) / len(values)
    names = ["m"] if exponential else []
    metrics = {"m": math.exp(mean) if exponential else mean}
    return Measurement(metrics, len(values), {}, {"m": values}, exponential=names)


@pytest.mark.parametrize("pair", [(0, 0), (1, 0), (3, 3), (5, 14), (40, 80), (900, 1010)])
def test_mcnemar_is_the_exact_binomial_test(pair: tuple[int, int]) -> None:
    expected = stats.binomtest(pair[0], sum(pair), 0.5).pvalue if sum(pair) else 1.0
    assert confidence.mcnemar(*pair) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("freedom", [1, 2, 3, 10, 11, 500, 5001])
@pytest.mark.parametrize("t", [0.0, 0.3, 1.96, 5.0, 30.0])
def test_students_t(t: float, freedom: int) -> None:
    expected = 2 * stats.t.sf(t, freedom)
    assert confidence.student_t(t, freedom) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert confidence.student_t(math.inf, freedom) == pytest.approx(0, abs=1e-12)


def test_means_are_compared_by_the_paired_t_test() -> None:
    draw = np.random.default_rng(0)
    a = draw.normal(50, 9, 60)
    b = a + draw.normal(0.8, 3, 60)
    found = confidence.difference(measurement(a.tolist()), measurement(b.tolist()), "m")
    assert found.value == pytest.approx(b.mean() - a.mean())
    assert found.standard_error == pytest.approx(stats.sem(b - a))
    assert found.p_value == pytest.approx(stats.ttest_rel(b, a).pvalue)


def test_accuracies_are_compared_example_by_example() -> None:
    """All 2^8 ways to swap the models' answers are as likely if the models are equally good."""
    a, b = [0] * 6 + [100] * 6, [100, 100, 100, 100, 100, 0, 0, 0, 100, 100, 100, 100]
    found = confidence.difference(measurement(a), measurement(b), "m")
    signs = [y - x for x, y in zip(a, b, strict=True) if x != y]
    swapped = [
        sum(s * d for s, d in zip(way, signs, strict=True))
        for way in itertools.product((1, -1), repeat=len(signs))
    ]
    extreme = sum(abs(total) >= abs(sum(signs)) for total in swapped)
    assert found.p_value == pytest.approx(extreme / len(swapped))
    assert found.test == "McNemar"
    assert confidence.difference(measurement(a), measurement(a), "m").p_value == 1
    single = confidence.difference(measurement([100]), measurement([0]), "m")
    assert (single.value, single.standard_error, single.p_value) == (-100, None, None)


def test_perplexities_have_the_delta_methods_error() -> None:
    """Checked against the spread of the figure over bootstrap samples of the examples."""
    draw = np.random.default_rng(1)
    a = draw.gamma(9, 0.4, 400)
    b = a + draw.normal(0.1, 0.2, 400)
    samples = draw.integers(0, 400, (4000, 400))
    spread_a = np.exp(a[samples].mean(1)).std()
    spread = (np.exp(b[samples].mean(1)) - np.exp(a[samples].mean(1))).std()
    ours, theirs = (measurement(x.tolist(), exponential=True) for x in (a, b))
    assert ours.standard_error("m") == pytest.approx(spread_a, rel=0.06)
    found = confidence.difference(ours, theirs, "m")
    assert found.standard_error == pytest.approx(spread, rel=0.06)
    assert found.p_value == pytest.approx(stats.ttest_rel(b, a).pvalue)


def test_ratios_have_the_ratio_estimators_error() -> None:
    draw = np.random.default_rng(2)
    sizes = draw.integers(20, 200, 300)
    amounts = sizes * draw.gamma(20, 0.05, 300)
    total = 7.0 * sizes.sum()
    values = confidence.ratio_values(amounts.tolist(), sizes.tolist(), total)
    assert np.mean(values) == pytest.approx(amounts.sum() / total)
    samples = draw.integers(0, 300, (4000, 300))
    ratios = amounts[samples].sum(1) / sizes[samples].sum(1) / 7.0
    assert stats.sem(values) == pytest.approx(ratios.std(), rel=0.06)


def test_a_suites_error_comes_from_its_members() -> None:
    """BLiMP: means over sets, here of one to three pairs each."""
    draw = random.Random(3)
    members = []
    for _ in range(67):
        values = [draw.choice([0.0, 100.0]) for _ in range(20)]
        mean = sum(values) / 20
        members.append(Measurement({"accuracy": mean}, 20, {"ties": 0}, {"accuracy": values}))
    found = confidence.suite_measurement(SUITES["blimp"], members)
    errors = [stats.sem(m.per_example["accuracy"]) for m in members]
    assert found.standard_error("accuracy") == pytest.approx(math.hypot(*errors) / 67)
    ellipsis = [b.name.startswith("blimp_ellipsis") for b in SUITES["blimp"].benchmarks]
    two = [error for error, chosen in zip(errors, ellipsis, strict=True) if chosen]
    assert found.standard_error("accuracy_ellipsis") == pytest.approx(math.hypot(*two) / 2)
    same = confidence.suite_difference(SUITES["blimp"], members, members, "accuracy")
    assert (same.value, same.standard_error, same.p_value) == (0, 0, 1)


@pytest.mark.slow
def test_blocks_are_the_texts_own(scorer: Scorer, tmp_path: Path) -> None:
    """Every token's nats are in the block where its text is; the figures are as without blocks."""
    text = "the cat sat on the mat , é☃ and the dog saw the cat . \n" * 170
    windows = scorer.sliding_windows(text)
    scored = score_running_text(scorer, text, windows, lambda n: None)
    assert scored.sizes == [BLOCK_CHARACTERS, BLOCK_CHARACTERS, len(text) - 2 * BLOCK_CHARACTERS]
    nats = np.concatenate([s.log_probabilities.numpy() for s in scorer.score(windows)])
    ids = scorer.tokenizer.encode(text)
    first = next(
        n
        for n in range(len(ids), 0, -1)
        if len(scorer.tokenizer.decode(ids[: n - 1]).encode("utf-8", "replace"))
        < len(text[:BLOCK_CHARACTERS].encode())
    )
    assert scored.nats[0] == pytest.approx(-nats[:first].sum(), rel=2e-3)
    assert sum(scored.nats) == pytest.approx(-nats.sum())
    (tmp_path / "text8").write_text(text * 20)
    measured = BENCHMARKS["text8"].run(scorer, tmp_path, Options())
    [metric] = measured.metrics
    mean = sum(measured.per_example[metric]) / len(measured.per_example[metric])
    assert mean == pytest.approx(measured.metrics[metric])
