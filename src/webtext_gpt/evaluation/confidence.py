"""Standard errors of figures, and paired tests of the differences between two models.

The examples of a benchmark are treated as a random sample of all possible examples. Running text is
divided into blocks, because neighbouring words depend on one another.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from webtext_gpt.evaluation.benchmark import Measurement, Suite
from webtext_gpt.evaluation.translation_metrics import paired_bootstrap

McNEMAR, STUDENT, NORMAL, BOOTSTRAP = "McNemar", "paired t", "normal", "paired bootstrap"


@dataclass(frozen=True)
class Difference:
    """The difference of one figure between two models, B minus A.

    Attributes:
        value: the difference.
        standard_error: its standard error; None if it is unknown.
        p_value: two-sided probability of a difference at least as large if there were none.
        test: name of the test that gave `p_value`; empty if there is none.
        signature: how the figures and the test were computed, in sacreBLEU's form; else empty.
    """

    value: float
    standard_error: float | None = None
    p_value: float | None = None
    test: str = ""
    signature: str = ""


def ratio_values(amounts: Sequence[float], sizes: Sequence[float], total: float) -> list[float]:
    """Return a value for each example whose mean is `sum(amounts) / total`.

    Examples differ in size, so an amount is compared with the amount expected for its size:
    value = mean + n / total * (amount - size * sum(amounts) / sum(sizes)). The standard error of
    the values is that of the ratio estimator (Cochran 1977, section 2.11).

    Args:
        amounts: the summed quantity, for instance each example's nats.
        sizes: the examples' sizes, in any unit.
        total: the denominator in the metric's own unit, taken to be spread as the sizes are.
    """
    rate = math.fsum(amounts) / math.fsum(sizes)
    mean, scale = math.fsum(amounts) / total, len(amounts) / total
    return [mean + scale * (a - rate * size) for a, size in zip(amounts, sizes, strict=True)]


def difference(a: Measurement, b: Measurement, metric: str) -> Difference:
    """Compare a metric of two models on the same examples.

    Accuracies are compared by the exact test of McNemar, other means by Student's paired t test,
    which needs no random numbers and holds for the hundreds of examples that benchmarks have. A
    perplexity is compared through its nats. BLEU and chrF are no means over sentences, and are
    compared by paired bootstrap resampling, see `paired_bootstrap`.
    """
    value = b.metrics[metric] - a.metrics[metric]
    if len(a.written) > 1 and len(a.written) == len(b.written):
        references = [reference for _, reference in a.written]
        of_a, of_b = ([text for text, _ in one.written] for one in (a, b))
        found = paired_bootstrap(metric, of_a, of_b, references)
        return Difference(value, found.standard_error, found.p_value, BOOTSTRAP, found.signature)
    ours, theirs = a.per_example.get(metric, []), b.per_example.get(metric, [])
    if len(ours) < 2 or len(ours) != len(theirs):
        return Difference(value)
    linear = zip(a.linear_values(metric), b.linear_values(metric), strict=True)
    error = _mean_error([y - x for x, y in linear])
    if {*ours, *theirs} <= {0, 100}:
        only_a = sum(x > y for x, y in zip(ours, theirs, strict=True))
        only_b = sum(x < y for x, y in zip(ours, theirs, strict=True))
        return Difference(value, error, mcnemar(only_a, only_b), McNEMAR)
    p_value = paired_t([y - x for x, y in zip(ours, theirs, strict=True)])
    return Difference(value, error, p_value, STUDENT)


def suite_difference(
    suite: Suite, a: Sequence[Measurement], b: Sequence[Measurement], metric: str
) -> Difference:
    """Compare a suite's figure of two models, from the differences of its members."""
    values = [suite.combine(measured).metrics[metric] for measured in (a, b)]
    errors = [
        {m: difference(x, y, m).standard_error for m in x.metrics}
        for x, y in zip(a, b, strict=True)
    ]
    error = propagated(suite, a, errors).get(metric)
    if error is None:
        return Difference(values[1] - values[0])
    p_value = math.erfc(_ratio(abs(values[1] - values[0]), error) / math.sqrt(2))
    return Difference(values[1] - values[0], error, p_value, NORMAL)


def suite_measurement(suite: Suite, measured: Sequence[Measurement]) -> Measurement:
    """Return a suite's figures with their standard errors, from those of its members."""
    errors = [{metric: m.standard_error(metric) for metric in m.metrics} for m in measured]
    known = propagated(suite, measured, errors)
    return replace(suite.combine(measured), standard_errors=known)


def propagated(
    suite: Suite, measured: Sequence[Measurement], errors: Sequence[dict[str, float | None]]
) -> dict[str, float]:
    """Return the standard errors of a suite's figures, assuming that its members are independent.

    Each member contributes the change of a figure when its metric changes by its standard error;
    the squares of these add up. Figures that depend on a metric without a standard error have none.
    """
    figures = suite.combine(measured).metrics
    squares = dict.fromkeys(figures, 0.0)
    for index, (member, known) in enumerate(zip(measured, errors, strict=True)):
        for metric, error in known.items():
            step = 1.0 if error is None else error
            changed = replace(
                member, metrics={**member.metrics, metric: member.metrics[metric] + step}
            )
            moved = suite.combine([*measured[:index], changed, *measured[index + 1 :]]).metrics
            for name, value in figures.items():
                unknown = error is None and moved[name] != value
                squares[name] += math.inf if unknown else (moved[name] - value) ** 2
    return {name: math.sqrt(square) for name, square in squares.items() if math.isfinite(square)}


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the exact two-sided p-value of McNemar's test (1947): a fair coin for each example.

    Args:
        only_a: number of examples that only the first model has right.
        only_b: number of examples that only the second model has right.
    """
    n = only_a + only_b
    tail, term = 0, 1
    for k in range(min(only_a, only_b) + 1):
        tail += term
        term = term * (n - k) // (k + 1)
    return min(1.0, 2 * tail / 2**n) if n else 1.0


def paired_t(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of Student's t test that the mean difference is zero."""
    mean, error = fmean(differences), _mean_error(differences)
    return student_t(_ratio(abs(mean), error), len(differences) - 1)


def student_t(t: float, freedom: int) -> float:
    """Return the probability that |T| exceeds `t`, to about 1e-13 absolutely.

    By the finite series for whole degrees of freedom (Abramowitz & Stegun 26.7.3 and 26.7.4).
    """
    angle = math.atan(t / math.sqrt(freedom))
    cosine, sine = math.cos(angle), math.sin(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = 0.0
    for k in range(1 if odd else 0, freedom - 1, 2):
        total += term
        term *= cosine**2 * (k + 1) / (k + 2)
    inside = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return max(0.0, 1 - inside)


def _mean_error(values: Sequence[float]) -> float:
    """Return the standard error of a mean; infinity if a value is not finite."""
    finite = all(map(math.isfinite, values))
    return stdev(values) / math.sqrt(len(values)) if finite else math.inf


def _ratio(value: float, error: float) -> float:
    """Return value / error, where 0 / 0 is 0."""
    return value / error if error else math.inf if value else 0.0
