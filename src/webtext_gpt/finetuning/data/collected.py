"""One source's rows collected into `Examples`: texts and labels in memory, each checked.

Which sources make up a task's training, validation and test examples is `examples`.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass

from webtext_gpt.data.rows import Row, plural, text_value
from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.data.labels import class_name, number
from webtext_gpt.finetuning.data.rows import Source
from webtext_gpt.finetuning.data.task import Task


@dataclass(frozen=True)
class Examples:
    """Rows of one split, in their order.

    Attributes:
        texts: first texts; of `pairs`, the prompts.
        seconds: second texts; `None` where texts are judged alone.
        labels: names of classes, numbers of a regression, or completions of `pairs`; empty where
            they were not read.
        places: where each row stands, for messages.
        classes: names of the classes in the hub's order, where it has one.
    """

    texts: list[str]
    seconds: list[str] | None
    labels: list[str] | list[float]
    places: list[str]
    classes: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def subset(self, rows: Iterable[int]) -> "Examples":
        """The rows of these numbers."""
        rows = list(rows)
        seconds = None if self.seconds is None else [self.seconds[row] for row in rows]
        labels = [self.labels[row] for row in rows] if self.labels else []
        places = [self.places[row] for row in rows]
        texts = [self.texts[row] for row in rows]
        return Examples(texts, seconds, labels, places, self.classes)  # type: ignore[arg-type]

    def keys(self) -> list[tuple[str, str]]:
        """What makes two rows the same: both texts, lower-cased, white space collapsed."""
        seconds = self.seconds or [""] * len(self)
        return [(collapsed(a), collapsed(b)) for a, b in zip(self.texts, seconds, strict=True)]


def text_or_empty(row: Row, column: str, place: str) -> str:
    """The text of a cell; a null, as Parquet has for one left empty, is an empty text."""
    return "" if row[column] is None else text_value(row, column, place)


def collect_examples(task: Task, source: Source) -> Examples:
    """All rows of a source.

    Raises:
        UserError: there are none, a text is empty and `task.skip_empty` false, or a label is not
            what the task needs.
    """
    texts: list[str] = []
    seconds: list[str] = []
    labels: list = []
    places: list[str] = []
    empty: list[str] = []
    for place, row in source.rows:
        text = text_or_empty(row, task.text, place)
        second = None if task.text_pair is None else text_or_empty(row, task.text_pair, place)
        completion = text_or_empty(row, task.label, place) if task.kind == "pairs" else None
        if not all(part is None or part.strip() for part in (text, second, completion)):
            empty.append(place)
            continue
        texts.append(text)
        places.append(place)
        if second is not None:
            seconds.append(second)
        if completion is not None:
            labels.append(completion)
        elif task.kind == "regression":
            labels.append(number(row, task, place))
        else:
            labels.append(class_name(row, task, place, source.classes))
    _check_empty(task, source.name, empty, len(texts))
    return Examples(
        texts, seconds if task.text_pair is not None else None, labels, places, source.classes
    )


def _check_empty(task: Task, name: str, empty: list[str], full: int) -> None:
    if not full:
        raise UserError(
            f"{name} has no text in {plural(len(empty))}" if empty else f"{name} has no rows"
        )
    if empty and not task.skip_empty:
        raise UserError(
            f"{len(empty)} of {len(empty) + full} rows of {name} have an empty text "
            f"({'; '.join(empty[:3])}); set task.skip_empty=true to leave them out"
        )
    if empty:
        say(f"{name}: {len(empty)} of {len(empty) + full} rows left out, their text is empty")


def say(message: str) -> None:
    """Print on the first of the processes that train together, which all read the examples."""
    ranks = ("RANK", "NODE_RANK", "LOCAL_RANK", "SLURM_PROCID")
    if all(os.environ.get(rank, "0") == "0" for rank in ranks):
        print(message, flush=True)


def collapsed(text: str) -> str:
    """Lower-cased, with single spaces for all white space."""
    return " ".join(text.lower().split())
