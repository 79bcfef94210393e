"""Labelled examples of one file or hub split, read into memory and checked row by row.

`splits` combines such sources into a task's training, validation and test sets.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from webtext_gpt.data.rows import Row, plural, text_value
from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.data.labels import class_name, label_to_skip, regression_target
from webtext_gpt.finetuning.data.rows import RowSource, file_source
from webtext_gpt.finetuning.data.task import Task
from webtext_gpt.terminal import say

TextRow = tuple[str, str, str | None]
"""Place, text and second text (`None` unless texts come in pairs) of a row without its label."""


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
    """Yield the texts of a file's rows, reading them one at a time.

    Labels are not read, and texts may be empty. A file without a header may omit the label column.
    If cells are separated by spaces, it is assumed to be omitted, so that each line is one text.

    Raises:
        UserError: the file or one of its rows cannot be read.
    """
    source = file_source(task, file, labeled=False, key="predict")
    for place, row in source.rows:
        second = None if task.text_pair is None else _text_or_empty(row, task.text_pair, place)
        yield place, _text_or_empty(row, task.text, place), second
    print_once(*source.faults.remarks(source.name))


def collect_examples(task: Task, source: RowSource) -> Examples:
    """Read all rows of a source.

    Raises:
        UserError: there are no rows; a text is empty and `task.skip_empty` is false; or a label
            does not fit `task.kind`. The message names the rows.
    """
    texts: list[str] = []
    seconds: list[str] = []
    labels: list = []
    places: list[str] = []
    empty: list[str] = []
    skipped: Counter[str] = Counter()
    for place, row in source.rows:
        if (to_skip := label_to_skip(row, task, source.classes)) is not None:
            skipped[to_skip] += 1
            continue
        text = _text_or_empty(row, task.text, place)
        second = None if task.text_pair is None else _text_or_empty(row, task.text_pair, place)
        completion = _text_or_empty(row, task.label, place) if task.kind == "completion" else None
        if not all(part is None or part.strip() for part in (text, second, completion)):
            empty.append(place)
            continue
        label: str | float
        if completion is not None:
            label = completion
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
    _check_empty(task, source.name, empty, len(texts))
    pairs = seconds if task.text_pair is not None else None
    return Examples(
        texts, pairs, labels, places, source.classes, skipped=len(empty) + skipped.total()
    )


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


def _check_empty(task: Task, name: str, empty: list[str], kept: int) -> None:
    if not kept:
        raise UserError(
            f"{name} has no text in {plural(len(empty))}" if empty else f"{name} has no rows"
        )
    if empty and not task.skip_empty:
        raise UserError(
            f"{len(empty)} of {len(empty) + kept} rows of {name} have an empty text "
            f"({'; '.join(empty[:3])}); set task.skip_empty=true to skip them"
        )
    if empty:
        print_once(f"{name}: {len(empty)} of {len(empty) + kept} rows skipped, their text is empty")
