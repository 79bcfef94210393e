"""Figures beside the paper's, as a table to read."""

import math
from collections.abc import Sequence

from webtext_gpt.evaluation.benchmark import Result
from webtext_gpt.evaluation.registry import nearest_size, papers_figure
from webtext_gpt.evaluation.tables import aligned, markdown_table

COLUMNS = {
    "LAMBADA ppl": ("lambada", "last_token_perplexity"),
    "LAMBADA acc": ("lambada", "last_token_accuracy_stop_words"),
    "CBT-CN": ("cbt_cn", "accuracy"),
    "CBT-NE": ("cbt_ne", "accuracy"),
    "WikiText2": ("wikitext2", "perplexity"),
    "PTB": ("ptb", "perplexity"),
    "enwik8": ("enwik8", "bits_per_byte"),
    "text8": ("text8", "bits_per_character"),
    "WikiText103": ("wikitext103", "perplexity"),
    "1BW": ("one_billion_words", "perplexity"),
}
"""The columns of the paper's table 3."""


def papers_table(results: Sequence[Result], title: str, n_parameters: int) -> list[list[str]]:
    """Rows of table 3: its head, the model's figures, and the paper's of the nearest size."""
    values = {(result.task, result.metric): result.value for result in results}
    size = nearest_size(n_parameters)
    mine = [_shown(values.get(key)) for key in COLUMNS.values()]
    theirs = [_shown(papers_figure(*key, size)) for key in COLUMNS.values()]
    return [["", *COLUMNS], [title, *mine], [f"GPT-2 {size} (paper)", *theirs]]


def all_figures(results: Sequence[Result], n_parameters: int) -> list[list[str]]:
    """A row for every figure, the paper's beside it."""
    size = nearest_size(n_parameters)
    rows = [["task", "metric", "value", f"GPT-2 {size}", "examples", "seconds"]]
    for result in results:
        paper = _shown(papers_figure(result.task, result.metric, size))
        numbers = [_shown(result.value), paper, f"{result.examples:,}", f"{result.seconds:.1f}"]
        rows.append([result.task, result.metric, *numbers])
    return rows


def terminal(results: Sequence[Result], title: str, n_parameters: int) -> str:
    """Both tables for the terminal."""
    tables = papers_table(results, title, n_parameters), all_figures(results, n_parameters)
    return "\n\n".join(aligned(table) for table in tables)


def markdown(results: Sequence[Result], title: str, n_parameters: int) -> str:
    """Both tables as a document."""
    tables = papers_table(results, title, n_parameters), all_figures(results, n_parameters)
    first, second = (markdown_table(table) for table in tables)
    return (
        f"# Zero-shot evaluation of {title}\n\n{n_parameters:,} parameters\n\n{first}\n\n"
        f"## All figures\n\n{second}\n"
    )


def _shown(value: float | None) -> str:
    if value is None:
        return "-"
    if not math.isfinite(value):
        return str(value)
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 10_000 else f"{value:,.2f}"
