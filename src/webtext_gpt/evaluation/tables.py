"""Formatting tables for the terminal and for Markdown."""

import re
from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Format a table for the terminal: first column left-aligned, the others right-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table. The first row is the header; cells may contain Markdown."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


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
