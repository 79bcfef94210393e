"""The figures of a comparison, from the measurements of its models."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np
import numpy.typing as npt

from webtext_gpt.evaluation.benchmark import Measurement, Suite
from webtext_gpt.evaluation.corpora.heldout import METRIC
from webtext_gpt.evaluation.corpora.inputs import HeldOutSet
from webtext_gpt.evaluation.corpora.ranking import Figure

Measured = Mapping[tuple[str, int], Mapping[str, Measurement]]
"""Measurements by benchmark, of the model of each corpus and seed."""
Examples = npt.NDArray[np.float64]


def figures_of(
    corpora: Sequence[str],
    seeds: Sequence[int],
    measured: Measured,
    heldout: Sequence[HeldOutSet],
    suites: Sequence[Suite],
) -> list[Figure]:
    """Return the figures: held-out text, first over all sets, then the suites and benchmarks.

    A benchmark that a model lacks, or whose figure is not finite for some model, is left out.
    """
    table = _Table(corpora, seeds, measured)
    names = [held.name for held in heldout]
    figures = [table.mean_over("held-out bits per byte", names, METRIC)]
    if len(names) > 1:
        figures += [table.mean_over(f"{name} bits per byte", [name], METRIC) for name in names]
    first = measured[corpora[0], seeds[0]]
    members: set[str] = set()
    for suite in suites:
        own = [benchmark.name for benchmark in suite.benchmarks]
        members |= set(own)
        if all(name in measured[key] for key in table.keys for name in own):
            figures += table.suite(suite, own)
    for name in first:
        if name in names or name in members or any(name not in measured[key] for key in table.keys):
            continue
        for metric in first[name].metrics:
            figures.append(table.mean_over(f"{name} {metric}", [name], metric))
    return [f for f in figures if all(np.isfinite(values).all() for values in f.values.values())]


def is_lower_better(metric: str) -> bool:
    """Return whether a lower value of a benchmark's metric is better."""
    return "perplexity" in metric or "bits_per_" in metric


class _Table:
    """Measurements as arrays, corpora by seeds."""

    def __init__(self, corpora: Sequence[str], seeds: Sequence[int], measured: Measured) -> None:
        self.corpora, self.seeds, self.measured = corpora, seeds, measured
        self.keys = [(name, seed) for name in corpora for seed in seeds]

    def mean_over(self, title: str, names: Sequence[str], metric: str) -> Figure:
        """Return the mean of one metric over benchmarks."""
        values = {
            corpus: np.array(
                [
                    fmean(self.measured[corpus, seed][name].metrics[metric] for name in names)
                    for seed in self.seeds
                ]
            )
            for corpus in self.corpora
        }
        return Figure(title, is_lower_better(metric), values, self.examples(names, metric))

    def suite(self, suite: Suite, names: Sequence[str]) -> list[Figure]:
        """Return the first figure of a suite, with examples if it is the mean over its members."""
        combined = {key: suite.combine([self.measured[key][n] for n in names]) for key in self.keys}
        metric = next(iter(combined[self.keys[0]].metrics))
        is_mean = all(
            all(metric in self.measured[key][name].metrics for name in names)
            and math.isclose(
                own.metrics[metric],
                fmean(self.measured[key][name].metrics[metric] for name in names),
            )
            for key, own in combined.items()
        )
        values = {
            corpus: np.array([combined[corpus, seed].metrics[metric] for seed in self.seeds])
            for corpus in self.corpora
        }
        examples = self.examples(names, metric) if is_mean else {}
        return [Figure(f"{suite.name} {metric}", is_lower_better(metric), values, examples)]

    def examples(self, names: Sequence[str], metric: str) -> dict[str, list[Examples]]:
        """Return the values of the examples of each benchmark, `(S, n)`; empty if one has none."""
        if any(metric not in self.measured[key][n].per_example for key in self.keys for n in names):
            return {}
        return {
            corpus: [
                np.array([_linear(self.measured[corpus, s][name], metric) for s in self.seeds])
                for name in names
            ]
            for corpus in self.corpora
        }


def _linear(measured: Measurement, metric: str) -> Examples:
    """Return a metric's examples, in the unit of the metric.

    The examples of an exponential metric are logarithms, whose changes count exp(mean) times.
    """
    slope = measured.metrics[metric] if metric in measured.exponential else 1.0
    return slope * np.array(measured.per_example[metric])
