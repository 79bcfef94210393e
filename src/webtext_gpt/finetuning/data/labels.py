"""What the cell of a label means: a class's name, or a number."""

import math
import re
from typing import Any

from webtext_gpt.data.rows import Row, text_value
from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.data.task import Task


def class_name(row: Row, task: Task, place: str, classes: tuple[str, ...] | None = None) -> str:
    """The name of a row's class: text as it stands, without the white space around it.

    Args:
        row: whole numbers and truth values become text; 1.0 is 1, as a number and as text, since
            formats differ in which of them they hold.
        task: says the column, and where in the text the name ends.
        place: of the row.
        classes: names, where the label is the number of one; GLUE's -1 means that it is kept
            secret.

    Raises:
        UserError: there is no label, or it cannot be the name of a class.
    """
    value = _present(row, task, place)
    if classes is not None:
        if value == -1:
            raise UserError(
                f"{place}: {task.label!r} is -1: this split's labels are not published; choose "
                "another by task.splits"
            )
        if not isinstance(value, int) or not 0 <= value < len(classes):
            raise UserError(f"{place}: {task.label!r} is {value!r}, no class's number")
        value = classes[value]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int):
        raise UserError(
            f"{place}: {task.label!r} is {value!r}, which names no class; a classification needs "
            "text or whole numbers, task.kind=regression takes any number"
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


def number(row: Row, task: Task, place: str) -> float:
    """The number that a regression is to give for a row.

    Raises:
        UserError: there is none, or it is not finite.
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


def _present(row: Row, task: Task, place: str) -> Any:
    value = row[task.label]
    empty = isinstance(value, str) and not value.strip()
    if value is None or empty or (isinstance(value, float) and math.isnan(value)):
        raise _missing(task, place)
    return value


def _missing(task: Task, place: str) -> UserError:
    return UserError(f"{place}: the label is missing: {task.label!r} is empty")
