"""Tables to read: for the terminal and for Markdown."""

import re
from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """A table for the terminal: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first row is its head, and cells may hold Markdown."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def one_line(text: str, width: int) -> str:
    """The text in one line of at most `width` characters, an ellipsis where more was.

    White space becomes single spaces; what cannot be printed becomes a replacement character.
    """
    line = " ".join(text.split())
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    return line if len(line) <= width else line[: width - 1].rstrip() + "…"


def escaped(text: str) -> str:
    """Text of one line that Markdown shows as it is, in a table's cell too."""
    return re.sub(r"([\\`*_\[\]<>&|~$])", r"\\\1", text)
