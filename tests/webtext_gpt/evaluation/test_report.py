"""Results, compared with the paper's figures."""

import pytest

from webtext_gpt.evaluation import report
from webtext_gpt.evaluation.benchmark import Result
from webtext_gpt.evaluation.registry import BENCHMARKS
from webtext_gpt.evaluation.tables import two_digits

SIZES = {1e6: "small", 2e8: "small", 2.2e8: "medium", 8e8: "large", 1.4e9: "xl", 1e11: "xl"}

TABLE_3 = {
    "LAMBADA ppl": ("35.13", "15.60", "10.87", "8.63"),
    "LAMBADA acc": ("45.99", "55.48", "60.12", "63.24"),
    "CBT-CN": ("87.65", "92.35", "93.45", "93.30"),
    "CBT-NE": ("83.40", "87.10", "88", "89.05"),
    "WikiText2": ("29.41", "22.76", "19.93", "18.34"),
    "PTB": ("65.85", "47.33", "40.31", "35.76"),
    "enwik8": ("1.16", "1.01", "0.97", "0.93"),
    "text8": ("1.17", "1.06", "1.02", "0.98"),
    "WikiText103": ("37.50", "26.37", "22.05", "17.48"),
    "1BW": ("75.20", "55.72", "44.58", "42.16"),
}
"""Table 3 of the paper, copied from it: 44.575 is rounded, 88.0 is written as a whole number."""


def test_the_paper_model_of_the_nearest_size_is_compared() -> None:
    for n_parameters, size in SIZES.items():
        assert report.nearest_size(int(n_parameters)) == size
    result = Result("wikitext2", "perplexity", 20.0, 1, 1.0)
    head, ours, theirs = report.table3([result], "mine", 1_500_000_000)
    column = head.index("WikiText2")
    assert (ours[column], theirs[column]) == ("20", "18.34")
    assert ours[head.index("PTB")] == "-"


def test_table_3_is_the_papers() -> None:
    for index, n_parameters in enumerate(report.SIZES.values()):
        head, _, theirs = report.table3([], "mine", n_parameters)
        assert head == ["", *TABLE_3]
        assert theirs[1:] == [figures[index] for figures in TABLE_3.values()]


def test_every_column_of_table_3_has_figures() -> None:
    paper = {(b.name, metric) for b in BENCHMARKS.values() for metric in b.paper}
    assert set(report.COLUMNS.values()) <= paper
    assert report.paper_figure("coqa", "f1", "xl") == 55.0
    assert report.paper_figure("coqa", "f1", "small") is None
    assert report.paper_figure("ptb", "words", "xl") is None


@pytest.mark.parametrize(
    ("value", "shown"),
    [(7012.4, "7,000"), (15.6, "16"), (1.56, "1.6"), (0.0789, "0.079"), (0.0, "0"), (99.6, "100")],
)
def test_errors_have_two_digits(value: float, shown: str) -> None:
    assert two_digits(value) == shown


def test_the_terminal_shows_what_was_measured_with_units() -> None:
    results = [
        Result("wikitext2", "perplexity", 20.0, 1, 1.0, 0.25),
        Result("wikitext2", "words", 241_211, 1, 1.0),
        Result("cbt_cn", "accuracy", 87.5, 8, 1.0),
    ]
    table3, figures = report.terminal(results, "mine", 124_439_808).split("\n\n")
    assert [line.split()[-1] for line in table3.splitlines()] == [
        "WikiText2", "ppl", "20", "29.41"
    ]  # fmt: skip
    assert table3.splitlines()[0].split() == ["CBT-CN", "WikiText2"]
    assert table3.splitlines()[1].split() == ["%", "ppl"]
    rows = [line.split() for line in figures.splitlines()]
    assert rows == [
        ["task", "value", "±error", "paper"],
        ["wikitext2,", "1", "example,", "1.0", "s"],
        ["perplexity", "20", "±0.25", "29.41"],
        ["words", "241,211", "-", "-"],
        ["cbt_cn,", "8", "examples,", "1.0", "s"],
        ["accuracy,", "%", "87.50", "-", "87.65"],
    ]


def test_the_widest_table_fits_100_columns() -> None:
    results = [
        Result(task, metric, 7_663_667.0, 100_000, 99_999.9, 470_000.0)
        for task, metric in report.COLUMNS.values()
    ]
    table3, figures = report.terminal(results[:7], "a_run_of_mine", 124_439_808).split("\n\n")
    assert max(map(len, table3.splitlines())) <= 100
    assert max(map(len, figures.splitlines())) <= 80


def test_without_a_figure_of_the_paper_there_is_no_column_for_it() -> None:
    shown = report.terminal([Result("custom", "accuracy", 50.0, 8, 1.0)], "mine", 10**8)
    assert "paper" not in shown
    assert len(shown.split("\n\n")) == 1
