"""Tables of results and the paper's figures, for the terminal and as Markdown."""

import math
from collections.abc import Sequence

from webtext_gpt.evaluation.benchmark import Result
from webtext_gpt.evaluation.registry import BENCHMARKS, SUITES
from webtext_gpt.evaluation.tables import aligned, markdown_table

SIZES = {"small": 124_439_808, "medium": 354_823_168, "large": 774_030_080, "xl": 1_557_611_200}
"""Parameters of the paper's models. The names are the fields of `PaperFigures`."""

COLUMNS = {
    figures.column: (benchmark.name, metric)
    for benchmark in BENCHMARKS.values()
    for metric, figures in benchmark.paper.items()
    if figures.column
}
"""Columns of the paper's table 3: heading to `(task, metric)`."""


def nearest_size(n_parameters: int) -> str:
    """Return the name of the paper's model with the nearest number of parameters, by ratio."""
    return min(SIZES, key=lambda size: abs(math.log(SIZES[size] / n_parameters)))


def paper_figure(task: str, metric: str, size: str) -> float | None:
    """Return the paper's figure for a metric and model size, or None if it reports none."""
    if task not in BENCHMARKS or metric not in BENCHMARKS[task].paper:
        return None
    value: float | None = getattr(BENCHMARKS[task].paper[metric], size)
    return value


def table3(results: Sequence[Result], title: str, n_parameters: int) -> list[list[str]]:
    """Return the rows of table 3: headings, this model, and the paper's model of nearest size."""
    values = {(result.task, result.metric): result.value for result in results}
    size = nearest_size(n_parameters)
    ours = [_format(values.get(key)) for key in COLUMNS.values()]
    theirs = [_format(paper_figure(*key, size)) for key in COLUMNS.values()]
    return [["", *COLUMNS], [title, *ours], [f"GPT-2 {size} (paper)", *theirs]]


def all_results(results: Sequence[Result], n_parameters: int) -> list[list[str]]:
    """Return a header, then a row for each result with the paper's figure next to it."""
    size = nearest_size(n_parameters)
    rows = [["task", "metric", "value", f"GPT-2 {size}", "examples", "seconds"]]
    for result in results:
        paper = _format(paper_figure(result.task, result.metric, size))
        numbers = [_format(result.value), paper, f"{result.examples:,}", f"{result.seconds:.1f}"]
        rows.append([result.task, result.metric, *numbers])
    return rows


def published_tables(results: Sequence[Result], title: str) -> list[list[list[str]]]:
    """Return a table for each suite among the results: its figures beside published models'."""
    tables = []
    for name, suite in SUITES.items():
        models = suite.published
        rows = [
            [result.metric, _format(result.value)]
            + [_format(models[model].get(result.metric)) for model in models]
            for result in results
            if result.task == name and any(result.metric in models[model] for model in models)
        ]
        if rows:
            tables.append([[name, title, *models], *rows])
    return tables


def terminal(results: Sequence[Result], title: str, n_parameters: int) -> str:
    """Return the tables as aligned text."""
    tables = [
        table3(results, title, n_parameters),
        *published_tables(results, title),
        all_results(results, n_parameters),
    ]
    return "\n\n".join(aligned(table) for table in tables)


def markdown(results: Sequence[Result], title: str, n_parameters: int) -> str:
    """Return the tables as a Markdown document."""
    tables = [table3(results, title, n_parameters), *published_tables(results, title)]
    first = "\n\n".join(markdown_table(table) for table in tables)
    second = markdown_table(all_results(results, n_parameters))
    return (
        f"# Zero-shot evaluation of {title}\n\n{n_parameters:,} parameters\n\n{first}\n\n"
        f"## All figures\n\n{second}\n"
    )


def _format(value: float | None) -> str:
    if value is None:
        return "-"
    if not math.isfinite(value):
        return str(value)
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 10_000 else f"{value:,.2f}"
