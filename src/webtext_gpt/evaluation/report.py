"""Tables of results and the paper's figures, for the terminal and as Markdown."""

import math
from collections.abc import Sequence

from webtext_gpt.evaluation.benchmark import Result
from webtext_gpt.evaluation.registry import BENCHMARKS, SUITES, published_figures
from webtext_gpt.evaluation.tables import aligned, by_task, markdown_table, two_digits
from webtext_gpt.evaluation.tasks.music import MUSIC
from webtext_gpt.evaluation.tasks.parallel_text import TRANSLATION

SIZES = {"small": 124_439_808, "medium": 354_823_168, "large": 774_030_080, "xl": 1_557_611_200}
"""Parameters of the paper's models. The names are the fields of `PaperFigures`."""

COLUMNS = {
    figures.column: (benchmark.name, metric)
    for benchmark in BENCHMARKS.values()
    for metric, figures in benchmark.paper.items()
    if figures.column
}
"""Columns of the paper's table 3: heading to `(task, metric)`."""


UNITS = {
    "perplexity": "ppl",
    "last_token_perplexity": "ppl",
    "bits_per_byte": "bits",
    "bits_per_character": "bits",
    **dict.fromkeys(
        (
            "accuracy",
            "accuracy_full",
            "accuracy_stop_words",
            "last_token_accuracy",
            "last_token_accuracy_stop_words",
            "acc",
            "acc_norm",
            "completion_acc",
            "completion_acc_norm",
            "f1",
            "exact_match",
        ),
        "%",
    ),
}
"""Units of metrics, as they are printed."""

OWN_TITLES = {TRANSLATION.name: "Translation", MUSIC.name: "Music"}
"""Titles of reports on a single task that the paper has no figures for."""


def nearest_size(n_parameters: int) -> str:
    """Return the name of the paper's model with the nearest number of parameters, by ratio."""
    return min(SIZES, key=lambda size: abs(math.log(SIZES[size] / n_parameters)))


def paper_figure(task: str, metric: str, size: str) -> float | None:
    """Return the published figure for a metric and model size, or None if there is none."""
    value: float | None = getattr(published_figures(task, metric), size, None)
    return value


def table3(
    results: Sequence[Result], title: str, n_parameters: int, *, only_measured: bool = False
) -> list[list[str]]:
    """Return the rows of table 3: headings, this model, and the paper's model of nearest size.

    Args:
        results: the figures.
        title: name of this model.
        n_parameters: its number of parameters.
        only_measured: for the terminal: leave out columns without a figure and add a row of units;
            return no rows if there is no figure at all.
    """
    values = {(result.task, result.metric): result.value for result in results}
    size = nearest_size(n_parameters)
    columns = {c: key for c, key in COLUMNS.items() if key in values or not only_measured}
    if not columns:
        return []
    ours = [format_value(values.get(key)) for key in columns.values()]
    theirs = [format_value(paper_figure(*key, size)) for key in columns.values()]
    units = [UNITS.get(key[1], "") for key in columns.values()]
    rows = [["", *columns], ["", *units], [title, *ours], [f"GPT-2 {size} (paper)", *theirs]]
    return rows if only_measured else [rows[0], *rows[2:]]


def all_results(results: Sequence[Result], n_parameters: int) -> list[list[str]]:
    """Return a header, then a row for each result with the paper's figure next to it.

    Counts that are zero are left out.
    """
    size = nearest_size(n_parameters)
    header = ["task", "metric", "value", "standard error", f"GPT-2 {size}", "examples", "seconds"]
    rows = [header]
    for result in results:
        if result.value == 0 and isinstance(result.value, int):
            continue
        paper = format_value(paper_figure(result.task, result.metric, size))
        numbers = [format_value(result.value), _error(result.standard_error), paper]
        numbers += [f"{result.examples:,}", f"{result.seconds:.1f}"]
        rows.append([result.task, result.metric, *numbers])
    return rows


def suite_tables(results: Sequence[Result], n_parameters: int) -> dict[str, list[list[str]]]:
    """Return the tables of the suites with a measured member, by the suite's name."""
    values = {(result.task, result.metric): result for result in results}
    size = nearest_size(n_parameters)
    tables = {name: suite.table(values, size) for name, suite in SUITES.items()}
    return {name: table for name, table in tables.items() if table}


def cut_prompts(results: Sequence[Result]) -> str:
    """Return a sentence that says how many prompts were cut, or an empty text."""
    counts = [
        f"{result.value:,.0f} of {result.task}"
        for result in results
        if result.metric == "cut_prompts" and result.value
    ]
    return f"Prompts cut to the model's context: {', '.join(counts)}." if counts else ""


def notes(results: Sequence[Result]) -> str:
    """Return a line for each figure that says how it was computed, or an empty text."""
    noted = [result for result in results if result.note]
    return "\n".join(f"- {result.task} {result.metric}: {result.note}" for result in noted)


def _title_of_own(results: Sequence[Result]) -> str | None:
    """Return the title of results that the paper has none of; None for the paper's tasks."""
    tasks = {result.task for result in results}
    return next((title for name, title in OWN_TITLES.items() if tasks == {name}), None)


def terminal(results: Sequence[Result], title: str, n_parameters: int) -> str:
    """Return all tables as aligned text."""
    tables = [
        table3(results, title, n_parameters, only_measured=True),
        *suite_tables(results, n_parameters).values(),
        _narrow(all_results(results, n_parameters)),
    ]
    remarks = filter(None, [cut_prompts(results), notes(results)])
    return "\n\n".join([*map(aligned, filter(None, tables)), *remarks])


def _narrow(figures: list[list[str]]) -> list[list[str]]:
    """Return the table of all figures as a terminal shows it: short headings, a line a task."""
    _, *rows = figures
    table = [["task", "", "value", "\N{PLUS-MINUS SIGN}error", "paper"]]
    for task, metric, *numbers, examples, seconds in rows:
        of = f"{examples} {'example' if examples == '1' else 'examples'}"
        unit = f", {UNITS[metric]}" if UNITS.get(metric) == "%" else ""
        table.append([f"{task}, {of}, {seconds} s", metric + unit, *numbers])
    without_paper = all(row[4] == "-" for row in table[1:])
    return by_task([row[:4] for row in table] if without_paper else table)


def markdown(results: Sequence[Result], title: str, n_parameters: int) -> str:
    """Return all tables as a Markdown document."""
    size = f"{n_parameters:,} parameters"
    figures = all_results(results, n_parameters)
    if (own := _title_of_own(results)) is not None:
        sections = {f"# {own} by {title}\n\n{size}": figures}
    else:
        sections = {
            f"# Zero-shot evaluation of {title}\n\n{size}": table3(results, title, n_parameters),
            **{f"## {n.upper()}": t for n, t in suite_tables(results, n_parameters).items()},
            "## All figures": figures,
        }
    remarks = filter(None, [cut_prompts(results), notes(results)])
    end = "".join(f"\n\n{remark}" for remark in remarks) + "\n"
    return "\n\n".join(f"{head}\n\n{markdown_table(t)}" for head, t in sections.items()) + end


def _error(value: float | None) -> str:
    """Format a standard error with two significant digits."""
    return "-" if value is None else f"\N{PLUS-MINUS SIGN}{two_digits(value)}"


def format_value(value: float | None) -> str:
    """Format a figure; None, a missing one, becomes a dash."""
    if value is None:
        return "-"
    if not math.isfinite(value):
        return str(value)
    if value == int(value) or abs(value) >= 10_000:
        return f"{value:,.0f}"
    return f"{value:,.2f}" if abs(value) >= 1 else f"{value:.4g}"
