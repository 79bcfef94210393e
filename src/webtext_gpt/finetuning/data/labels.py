"""Labels: from a row's cell to a class name or number, and from there to training targets."""

import math
import re
from collections.abc import Sequence

import numpy as np

from webtext_gpt.data.rows import Row, text_value
from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.data.task import Task


def class_name(row: Row, task: Task, place: str, classes: tuple[str, ...] | None = None) -> str:
    """Return the class name in a row's label column, without surrounding white space.

    Args:
        row: the row. Its label may be text, a whole number or a boolean; all become text. 1.0 is
            read as 1, whether it is a number or text, because file formats differ in this.
        task: names the column, and the mark before which the name ends.
        place: location of the row, for messages.
        classes: class names to look the label up in, if labels are class numbers. GLUE's -1 means
            that the label is withheld.

    Raises:
        UserError: the label is missing or cannot be a class name.
    """
    value = _present(row, task, place)
    if classes is not None:
        if value == -1:
            raise UserError(
                f"{place}: {task.label!r} is -1: this split's labels are not published; choose "
                "another split with task.splits"
            )
        if not isinstance(value, int) or not 0 <= value < len(classes):
            raise UserError(
                f"{place}: {task.label!r} is {value!r}, but class numbers run from 0 to "
                f"{len(classes) - 1}"
            )
        value = classes[value]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int):
        raise UserError(
            f"{place}: {task.label!r} is {value!r}, which cannot be a class name; a classification "
            "needs text or whole numbers, task.kind=regression takes any number"
        )
    name = text_value({task.label: str(value)}, task.label, place)
    if task.label_until is not None:
        name = name.partition(task.label_until)[0]
    name = name.strip()
    if not name:
        raise _missing(task, place)
    if classes is None and re.fullmatch(r"-?[0-9]{1,300}\.0+", name):
        return str(int(name.partition(".")[0]))
    return name


def regression_target(row: Row, task: Task, place: str) -> float:
    """Return the number in a row's label column.

    Raises:
        UserError: the label is missing or is not a finite number.
    """
    value = _present(row, task, place)
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError
        found = float(value)
        if not math.isfinite(found):
            raise ValueError
    except (ValueError, OverflowError):
        raise UserError(
            f"{place}: {task.label!r} is {value!r}, but task.kind=regression needs a finite number"
        ) from None
    return found


def encode_labels(labels: Sequence[str] | Sequence[float], names: tuple[str, ...]) -> np.ndarray:
    """Return training targets `(n,)`: class numbers as int64, or regression targets as float32.

    Args:
        labels: the rows' labels: class names, or numbers.
        names: names of the classes, in order; a single name means a regression.
    """
    if len(names) == 1:
        return np.array(labels, dtype=np.float32)
    numbers = {name: number for number, name in enumerate(names)}
    return np.array([numbers[str(label)] for label in labels], dtype=np.int64)


def _present(row: Row, task: Task, place: str) -> object:
    value = row[task.label]
    empty = isinstance(value, str) and not value.strip()
    if value is None or empty or (isinstance(value, float) and math.isnan(value)):
        raise _missing(task, place)
    return value


def _missing(task: Task, place: str) -> UserError:
    return UserError(f"{place}: the label is missing: {task.label!r} is empty")
