"""Tables on a terminal: aligned, a line for each task, and turned where it is too narrow."""

import sys

from tests.terminals import run_on_terminal
from webtext_gpt.evaluation.compare import Row, notes
from webtext_gpt.evaluation.tables import aligned, by_task, markdown_table

WIDE = """
from webtext_gpt.evaluation.tables import aligned
names = [f"val_accuracy_{number}" for number in range(8)]
print(aligned([["seed", *names], ["0", *["0.5000"] * 8], ["1", *["0.2500"] * 8]]))
"""


def test_metrics_are_indented_below_their_task() -> None:
    rows = [["task", "metric", "A", "B"], ["x", "loss", "1", "2"], ["x", "f1", "3", "4"]]
    assert aligned(by_task([*rows, ["y", "loss", "10", "6"]])).split("\n") == [
        "task     A  B",
        "x",
        "  loss   1  2",
        "  f1     3  4",
        "y",
        "  loss  10  6",
    ]


def test_columns_of_numbers_are_right_aligned_in_markdown() -> None:
    head = ["class", "rows", "F1", "share", "line", "note"]
    rows = [["7", "1,024", "0.61 ± 0.02", "12.5%", "-", ""], ["b", "-3", "1e-05", "0 %", "x 3", ""]]
    assert markdown_table([head, *rows]).split("\n")[1] == "|---|--:|--:|--:|---|---|"
    assert markdown_table([head]).split("\n")[1] == "|---|---|---|---|---|---|"


def test_a_table_that_is_too_wide_is_turned() -> None:
    """Eight columns of 14 characters and one of 4 take 4 + 8 x 16 = 132."""
    code, lines = run_on_terminal([sys.executable, "-c", WIDE], 80)
    assert code == 0
    assert lines[:2] == ["seed                 0       1", "val_accuracy_0  0.5000  0.2500"]
    assert len([line for line in lines if line]) == 9
    code, lines = run_on_terminal([sys.executable, "-c", WIDE], 140)
    assert code == 0
    assert len([line for line in lines if line]) == 3
    assert len(lines[0]) == 132


def test_a_note_on_several_figures_is_one_line() -> None:
    rows = [
        Row("wikitext2", "perplexity", 1.0, 2.0, 1, None, "no test"),
        Row("wikitext2", "bits_per_byte", 1.0, 2.0, 1, None, "no test"),
        Row("lambada", "perplexity", 1.0, 2.0, 5, None, "no test"),
        Row("lambada", "accuracy", 1.0, 2.0, 5, None, ""),
    ]
    assert notes(rows) == "- wikitext2 perplexity, bits_per_byte; lambada perplexity: no test"
