"""Lines for people: wrapped at spaces on a terminal, whole in a file, aligned in summaries."""

import re
import shlex
import sys
import textwrap
from collections.abc import Mapping
from os import PathLike, get_terminal_size
from pathlib import Path
from typing import TextIO

LABEL = re.compile(r"\S+(?: \S+)* {2,}")
"""A label and the spaces between it and its text."""
QUOTED = re.compile(r"(?<!\S)'[^'\n]*'(?=[\s,;.:)]|$)")
"""A word in quotes, such as a path with a space in it."""
LABELS = 12
"""Columns of a label and the spaces after it."""
NARROWEST = 40
"""Minimum columns for a terminal's reported width to be used."""


def columns(stream: TextIO) -> int | None:
    """Return the width of a stream's terminal in characters; None if it is a file or a pipe."""
    try:
        width = get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):  # no terminal; no file at all
        return None
    return width if width >= NARROWEST else None


def wrapped(text: str, width: int) -> str:
    """Break lines at spaces where they are wider than the terminal.

    A line that begins with `label  text` continues below its text. Indented lines are not changed:
    they are commands to copy, or rows of a table. Words and quoted paths are never broken.

    Args:
        text: one or more lines.
        width: characters that fit.
    """
    lines: list[str] = []
    for line in text.split("\n"):
        if len(line) <= width or line.startswith("  "):
            lines.append(line)
            continue
        label = LABEL.match(line)
        indent = len(label[0]) if label and len(label[0]) <= width // 2 else 0
        whole = QUOTED.sub(lambda found: found[0].replace(" ", "\0"), line)
        lines += textwrap.wrap(
            whole,
            width,
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return "\n".join(lines).replace("\0", " ")


def say(text: str, stream: TextIO | None = None, label: str = "") -> None:
    """Print lines for people, above an open progress bar.

    Args:
        text: the lines, without a newline at the end.
        stream: where to print; None means standard output.
        label: begins the first line, in a column of its own.
    """
    from tqdm import tqdm

    if label:
        text = f"{label:{LABELS - 2}}  {text}"
    stream = sys.stdout if stream is None else stream
    width = columns(stream)
    tqdm.write(text if width is None else wrapped(text, width), file=stream)
    stream.flush()


def say_rows(rows: Mapping[str, str], least: int = 0) -> None:
    """Print labels and texts in two columns; each text stays on one line, to be copied.

    Args:
        rows: the text of each label.
        least: minimum width of the column of labels, in characters.
    """
    from tqdm import tqdm

    width = max(least, *map(len, rows))
    tqdm.write("\n".join(f"{label:{width}}  {text}" for label, text in rows.items()))
    sys.stdout.flush()


def quoted(*paths: str | PathLike[str]) -> str:
    """Return paths quoted for the shell, separated by spaces."""
    return shlex.join(map(str, paths))


def from_here(path: Path) -> str:
    """Return a path relative to the current folder if it is inside, else unchanged."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
