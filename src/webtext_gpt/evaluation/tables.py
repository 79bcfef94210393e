"""Formatting tables for the terminal and for Markdown."""

import itertools
import re
import sys
from collections.abc import Sequence

from webtext_gpt.terminal import columns

NUMBER = re.compile(r"[-+]?\d[\d.,]*(e[-+]\d+)?( ?%)?( ± \d[\d.,]*)?")
"""A figure in a cell of a table: 1,024, -0.5, 12.5%, 0.61 ± 0.02."""


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Format a table for the terminal: first column left-aligned, the others right-aligned.

    On a terminal that is too narrow, rows become columns if that takes less room.
    """
    text, width = _lined_up(rows), columns(sys.stdout)
    if width is None or _widest(text) <= width:
        return text
    return min(text, _lined_up([*zip(*rows, strict=True)]), key=_widest)


def by_task(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return a table of figures with a line for each task, and its metrics indented below.

    Args:
        rows: the header, and figures in the order of their tasks; the first column is the task,
            the second the metric.
    """
    (first, _, *heads), *figures = rows
    table = [[first, *heads]]
    for task, group in itertools.groupby(figures, key=lambda row: row[0]):
        table.append([task, *[""] * len(heads)])
        table += [[f"  {metric}", *cells] for _, metric, *cells in group]
    return table


def _lined_up(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _widest(text: str) -> int:
    return max(map(len, text.split("\n")))


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table. The first row is the header; cells may contain Markdown.

    A column of numbers, in which some cells may be empty or "-", is aligned to the right.
    """
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    rule = "".join("|--:" if _are_numbers(c) else "|---" for c in zip(*rows[1:], strict=True))
    return "\n".join([lines[0], f"{rule or '|---' * len(rows[0])}|", *lines[1:]])


def _are_numbers(cells: Sequence[str]) -> bool:
    found = [cell for cell in cells if cell not in ("", "-")]
    return bool(found) and all(map(NUMBER.fullmatch, found))


def two_digits(value: float) -> str:
    """Format a number with two significant digits, and without an exponent if it is large."""
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"


def one_line(text: str, width: int) -> str:
    """Shorten a text to one line of at most `width` characters, ending in "…" if it is cut.

    White space is collapsed to single spaces. Unprintable characters are replaced by U+FFFD.
    """
    line = " ".join(text.split())
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    return line if len(line) <= width else line[: width - 1].rstrip() + "…"


def escaped(text: str) -> str:
    """Escape one line of text so that Markdown shows it literally, also in a table cell."""
    return re.sub(r"([\\`*_\[\]<>&|~$])", r"\\\1", text)
