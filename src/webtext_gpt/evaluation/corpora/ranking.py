"""Statistics of a comparison: figures with their errors, and paired tests of every two corpora.

Two things vary between one comparison and the next: the seed of training, and the choice of the
examples. Both enter the standard error of a difference,

    V = 2 s² / S + Σ_k v_k / (K² n_k),

whose degrees of freedom are those of Welch and Satterthwaite, rounded down.

s² is the residual variance of the table of figures, corpora by seeds, after its means of rows and
columns are taken out: the variance of a model's figure between seeds, pooled over the corpora, with
(N - 1)(S - 1) degrees of freedom. v_k is the variance between the n_k examples of set k of the
difference of two corpora on one example, averaged over the S seeds; the figure is the mean over K
sets. p values are two-sided and corrected over all pairs by Holm's method.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from webtext_gpt.evaluation.confidence import student_t

LEVEL = 0.05
"""Maximum probability of calling any pair different if none is."""


@dataclass(frozen=True)
class Figure:
    """One figure of all models.

    Attributes:
        name: its name.
        lower_is_better: whether a lower value is better.
        values: for each corpus, its models' values by seed, `(S,)`.
        examples: for each corpus, the values of the examples of each set, `(S, n_k)`; the figure is
            the mean of the sets' means. Empty if the figure is no such mean.
    """

    name: str
    lower_is_better: bool
    values: Mapping[str, npt.NDArray[np.float64]]
    examples: Mapping[str, Sequence[npt.NDArray[np.float64]]]


@dataclass(frozen=True)
class Difference:
    """A paired comparison of two corpora, the better one first.

    Attributes:
        better: the corpus with the better figure.
        worse: the other.
        difference: figure of `better` minus that of `worse`, mean over the seeds.
        error_of_seeds: its standard error for other seeds; None with one seed.
        error_of_examples: its standard error for other examples; None if they are unknown.
        p: probability of such a difference, if there were none; None with one seed.
        p_corrected: the same, corrected for all pairs.
    """

    better: str
    worse: str
    difference: float
    error_of_seeds: float | None
    error_of_examples: float | None
    p: float | None
    p_corrected: float | None = None

    @property
    def is_distinguishable(self) -> bool:
        """Whether the difference is significant at `LEVEL`."""
        return self.p_corrected is not None and self.p_corrected < LEVEL


def ranked(figure: Figure) -> list[str]:
    """Return the names of the corpora, the best first."""
    sign = 1 if figure.lower_is_better else -1
    return sorted(figure.values, key=lambda name: sign * float(figure.values[name].mean()))


def error_between_seeds(figure: Figure) -> float | None:
    """Return the standard error of a corpus's mean for other seeds, pooled; None with one seed."""
    table = np.stack([*figure.values.values()])  # (N, S)
    n_corpora, n_seeds = table.shape
    if n_seeds < 2 or n_corpora < 2:
        return None
    residuals = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    variance = float((residuals**2).sum()) / ((n_corpora - 1) * (n_seeds - 1))
    return math.sqrt(variance / n_seeds)


def compare(figure: Figure) -> list[Difference]:
    """Return the comparison of every two corpora, in the order of the ranking."""
    of_mean = error_between_seeds(figure)
    n_seeds = len(next(iter(figure.values.values())))
    degrees = (len(figure.values) - 1) * (n_seeds - 1)
    pairs = itertools.combinations(ranked(figure), 2)
    found = [_difference(figure, *pair, of_mean, degrees) for pair in pairs]
    corrected = holm([one.p for one in found if one.p is not None])
    if not corrected:
        return found
    return [
        Difference(**{**vars(one), "p_corrected": p})
        for one, p in zip(found, corrected, strict=True)
    ]


def _difference(
    figure: Figure, better: str, worse: str, of_mean: float | None, degrees: int
) -> Difference:
    difference = float((figure.values[better] - figure.values[worse]).mean())
    of_seeds = None if of_mean is None else math.sqrt(2) * of_mean
    of_sets = _variances_of_sets(figure, better, worse)
    total = math.fsum(variance for variance, _ in of_sets)
    of_examples = math.sqrt(total) if of_sets else None
    p = None
    if of_seeds is not None:
        p = p_value(difference, [(of_seeds**2, degrees), *of_sets])
    return Difference(better, worse, difference, of_seeds, of_examples, p)


def _variances_of_sets(figure: Figure, better: str, worse: str) -> list[tuple[float, int]]:
    """Return each set's contribution to the variance, and its degrees of freedom."""
    sets = list(zip(figure.examples.get(better, ()), figure.examples.get(worse, ()), strict=True))
    found = []
    for ours, theirs in sets:
        values = (ours - theirs).mean(0)  # (n_k,)
        if len(values) < 2:
            return []
        found.append((float(values.var(ddof=1)) / len(values) / len(sets) ** 2, len(values) - 1))
    return found


def p_value(difference: float, parts: Sequence[tuple[float, int]]) -> float:
    """Return the two-sided p value of a difference by a t test.

    Args:
        difference: the difference.
        parts: the parts of its variance, and the degrees of freedom of each.
    """
    total = math.fsum(variance for variance, _ in parts)
    if total == 0:
        return 1.0 if difference == 0 else 0.0
    degrees = total**2 / math.fsum(variance**2 / n for variance, n in parts)
    return student_t(abs(difference) / math.sqrt(total), math.floor(degrees))


def holm(values: Sequence[float]) -> list[float]:
    """Return p values corrected by Holm's method, in the same order."""
    order = sorted(range(len(values)), key=values.__getitem__)
    corrected = [0.0] * len(values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        corrected[index] = largest
    return corrected
