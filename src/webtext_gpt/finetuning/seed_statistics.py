"""The same training with several seeds: mean and deviation of its figures."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from webtext_gpt.evaluation.tables import aligned


def mean_and_deviation(summaries: Mapping[int, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean and sample standard deviation (n - 1) of every number that all seeds have.

    Args:
        summaries: for each seed, its run's summary. What is no number, or not finite, is left
            out, also where it is so for one seed only.

    Returns:
        For each metric `{"mean": ..., "deviation": ...}`; one seed deviates by 0.
    """
    runs = list(summaries.values())
    figures = {}
    for metric in runs[0] if runs else ():
        numbers = [value for run in runs if math.isfinite(value := _number(run.get(metric)))]
        if len(numbers) == len(runs):
            deviation = statistics.stdev(numbers) if len(numbers) > 1 else 0.0
            figures[metric] = {"mean": statistics.fmean(numbers), "deviation": deviation}
    return figures


def seeds_table(summaries: Mapping[int, Mapping[str, Any]], metrics: Sequence[str]) -> str:
    """A table for the terminal: a row a seed, then mean ± deviation.

    Args:
        summaries: for each seed, its run's summary.
        metrics: the columns; `-` stands where a seed has no such number.
    """
    means = mean_and_deviation(summaries)
    rows = [["seed", *metrics]]
    for seed, run in summaries.items():
        rows.append([str(seed), *(_shown(run.get(metric)) for metric in metrics)])
    last = [
        f"{_shown(means[metric]['mean'])} ± {_shown(means[metric]['deviation'])}"
        if metric in means
        else "-"
        for metric in metrics
    ]
    return aligned([*rows, ["mean ± deviation", *last]])


def _number(value: object) -> float:
    """The value where it is a number, else nan."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value)


def _shown(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4f}"
