"""Labelled examples of one file or hub split, read into memory and checked row by row.

`splits` combines such sources into a task's training, validation and test sets.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from webtext_gpt.data.endings import JSON_LINES, ends_in
from webtext_gpt.data.rows import Row, plural, text_value
from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.data.labels import (
    class_name,
    is_missing,
    label_to_skip,
    regression_target,
)
from webtext_gpt.finetuning.data.rows import RowSource, file_source
from webtext_gpt.finetuning.data.task import Task
from webtext_gpt.terminal import say

UNLABELED = "warning: rows with an empty text, which get no label"


class TextRow(NamedTuple):
    """A row to predict."""

    place: str
    """The file and the line or row, for messages."""
    text: str
    second: str | None = None
    """The second text; `None` unless texts come in pairs."""
    columns: Row = {}  # noqa: RUF012 - never changed
    """All columns of the row, as the file has them."""

    @property
    def is_empty(self) -> bool:
        """Whether a text holds nothing but white space."""
        return not all(part is None or part.strip() for part in (self.text, self.second))


@dataclass(frozen=True)
class Examples:
    """Rows of one split, in file order.

    Attributes:
        texts: first texts; prompts if the task is `completion`.
        seconds: second texts; `None` unless texts come in pairs.
        labels: class names, regression targets, or completions; empty if they were not read.
        places: location of each row, for messages.
        classes: class names in the hub's order, if the hub numbers its classes.
        skipped: number of rows of the file that were left out.
    """

    texts: list[str]
    seconds: list[str] | None
    labels: list[str] | list[float]
    places: list[str]
    classes: tuple[str, ...] | None = None
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.texts)

    def subset(self, rows: Iterable[int]) -> "Examples":
        """Return the rows with these numbers."""
        rows = list(rows)
        seconds = None if self.seconds is None else [self.seconds[row] for row in rows]
        labels = [self.labels[row] for row in rows] if self.labels else []
        places = [self.places[row] for row in rows]
        texts = [self.texts[row] for row in rows]
        return Examples(texts, seconds, labels, places, self.classes)  # type: ignore[arg-type]

    def keys(self) -> list[tuple[str, str]]:
        """Return each row's identity: both texts, lower-cased, with white space collapsed."""
        seconds = self.seconds or [""] * len(self)
        return [(collapsed(a), collapsed(b)) for a, b in zip(self.texts, seconds, strict=True)]


def read_file(task: Task, file: str | Path) -> Examples:
    """Read a file of labeled rows.

    Args:
        task: names the columns and the format.
        file: CSV, TSV, JSONL or Parquet.

    Raises:
        UserError: see `file_source` and `collect_examples`.
    """
    return collect_examples(task, file_source(task, file, key="evaluate"))


def iter_texts(task: Task, file: str | Path) -> Iterator[TextRow]:
    """Yield the texts of a file's rows with all its columns, reading them one at a time.

    Labels are not needed. Texts may be empty; these rows are counted in a warning. A file without a
    header may omit the label column. If cells are separated by spaces, it is assumed to be omitted,
    so that each line is one text.

    Raises:
        UserError: the file or one of its rows cannot be read.
    """
    source = file_source(task, file, labeled=False, key="predict", every_column=True)
    for place, row in source.rows:
        second = None if task.text_pair is None else _text_or_empty(row, task.text_pair, place)
        found = TextRow(place, _text_or_empty(row, task.text, place), second, row)
        if found.is_empty:
            source.faults.add(UNLABELED, place, 1)
        yield found
    print_once(*source.faults.remarks(source.name))


def column_names(task: Task, file: str | Path) -> list[str]:
    """Return the names of a file's columns; JSONL is read to its end, since any row may have more.

    Raises:
        UserError: see `iter_texts`.
    """
    source = file_source(task, file, labeled=False, key="predict", every_column=True)
    n_rows = None if ends_in(Path(file), JSON_LINES) else 1
    return list(dict.fromkeys(name for _, row in islice(source.rows, n_rows) for name in row))


def collect_examples(task: Task, source: RowSource) -> Examples:
    """Read all rows of a source.

    Raises:
        UserError: there are no rows; a text or a label is empty and `task.skip_empty` is false;
            or a label does not fit `task.kind`. The message names the rows.
    """
    texts: list[str] = []
    seconds: list[str] = []
    labels: list = []
    places: list[str] = []
    empty: list[str] = []
    unlabeled: list[str] = []
    skipped: Counter[str] = Counter()
    for place, row in source.rows:
        if (to_skip := label_to_skip(row, task, source.classes)) is not None:
            skipped[to_skip] += 1
            continue
        text = _text_or_empty(row, task.text, place)
        second = None if task.text_pair is None else _text_or_empty(row, task.text_pair, place)
        if TextRow(place, text, second).is_empty:
            empty.append(place)
            continue
        if is_missing(row, task):
            unlabeled.append(place)
            continue
        label: str | float
        if task.kind == "completion":
            label = text_value(row, task.label, place)
        elif task.kind == "regression":
            label = regression_target(row, task, place)
        else:
            label = class_name(row, task, place, source.classes)
        labels.append(label)
        texts.append(text)
        places.append(place)
        if second is not None:
            seconds.append(second)
    print_once(*source.faults.remarks(source.name))
    for label, count in skipped.items():
        print_once(f"{source.name}: {plural(count)} left out, the label is {label!r}")
    if skipped and not texts:
        raise UserError(f"{source.name} has no row with a label that task.skip_labels keeps")
    _check_empty(task, source.name, empty, unlabeled, len(texts))
    pairs = seconds if task.text_pair is not None else None
    n_skipped = len(empty) + len(unlabeled) + skipped.total()
    return Examples(texts, pairs, labels, places, source.classes, n_skipped)


def collapsed(text: str) -> str:
    """Return the text lower-cased, with every run of white space replaced by one space."""
    return " ".join(text.lower().split())


def print_once(*messages: str) -> None:
    """Print messages on rank 0 only, a line each; every rank reads the examples."""
    ranks = ("RANK", "NODE_RANK", "LOCAL_RANK", "SLURM_PROCID")
    if all(os.environ.get(rank, "0") == "0" for rank in ranks):
        for message in messages:
            say(message, label="data")


def _text_or_empty(row: Row, column: str, place: str) -> str:
    """Return the text of a cell; null, which Parquet stores for an empty cell, is empty text."""
    return "" if row[column] is None else text_value(row, column, place)


def _check_empty(task: Task, name: str, empty: list[str], unlabeled: list[str], kept: int) -> None:
    """Refuse rows with an empty text or label, or print how many of them are skipped."""
    total = len(empty) + len(unlabeled) + kept
    if not total:
        raise UserError(f"{name} has no rows")
    if len(empty) == total:
        raise UserError(f"{name} has no text in {plural(total)}")
    if len(unlabeled) == total:
        raise UserError(f"{name} has no label in {plural(total)}: {task.label!r} is empty")
    left_out = {"an empty text": empty, f"no label, {task.label!r} is empty": unlabeled}
    parts = [
        f"{len(places):,} {'has' if len(places) == 1 else 'have'} {what} ({_listed(name, places)})"
        for what, places in left_out.items()
        if places
    ]
    if parts and (not task.skip_empty or not kept):
        advice = "set task.skip_empty=true to skip them" if kept else "no row has both"
        raise UserError(f"{name}: of {plural(total)}, {' and '.join(parts)}; {advice}")
    for what, places in left_out.items():
        if places:
            print_once(f"{name}: {len(places):,} of {plural(total)} skipped, with {what}")


def _listed(name: str, places: list[str]) -> str:
    """Return the first places of a file or split, without its name."""
    first = "; ".join(place.removeprefix(f"{name}, ") for place in places[:3])
    return first + ("; ..." if len(places) > 3 else "")
