"""Labels: from a row's cell to a class name or number, and from there to training targets."""

import math
import re
from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from webtext_gpt.data.rows import Row, text_value
from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.data.task import Task

LARGEST_NUMBER = float(np.finfo(np.float32).max)
"""Largest target of a regression."""
MOST_DIGITS = 300
"""Maximum digits of a number that is normalized as a class name; longer text stays as it is."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_FRACTION = re.compile(r"[+-]?(\d*\.\d+([eE][+-]?\d{1,4})?|\d+[eE][+-]?\d{1,4})", re.ASCII)
"""Pattern of numbers with a point or an exponent, whose value may still be whole."""
_SWAPPED = str.maketrans(",.", ".,")


def class_name(row: Row, task: Task, place: str, classes: tuple[str, ...] | None = None) -> str:
    """Return the class name in a row's label column, without surrounding white space.

    Args:
        row: the row. Its label may be text, a whole number or a boolean; all become text. 1.0 and
            1.0e+00 are read as 1, whether they are numbers or text, because file formats differ
            in this. For the same reason a fraction is refused as text too.
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
                f"{place}: {task.label!r} is -1: this split's labels are not published, or, as in "
                "SNLI, this row has none; choose another split with task.splits, or leave such "
                "rows out with task.skip_labels=[-1]"
            )
        if not isinstance(value, int) or not 0 <= value < len(classes):
            raise UserError(
                f"{place}: {task.label!r} is {value!r}, but class numbers run from 0 to "
                f"{len(classes) - 1}"
            )
        value = classes[value]
    if isinstance(value, float | Decimal):
        value = value if (whole := _whole(value)) is None else whole
    if not isinstance(value, str | int):
        raise _no_class(value, task, place)
    name = text_value({task.label: str(value)}, task.label, place)
    if task.label_until is not None:
        name = name.partition(task.label_until)[0]
    name = name.strip()
    if not name:
        raise _missing(task, place)
    return name if classes is not None else _as_whole(name, task, place)


def label_to_skip(row: Row, task: Task, classes: tuple[str, ...] | None = None) -> str | None:
    """Return a row's label if `task.skip_labels` has it, and otherwise `None`.

    Labels are compared as `class_name` reads them, but may be ones that it refuses, such as a
    fraction. For the arguments see `class_name`.
    """
    value = row[task.label]
    if not task.skip_labels or not isinstance(value, str | int | float | Decimal):
        return None
    if classes is not None and isinstance(value, int) and 0 <= value < len(classes):
        value = classes[value]
    name = str(value)
    if task.label_until is not None:
        name = name.partition(task.label_until)[0]
    skipped = {_comparable(name, task) for name in task.skip_labels}
    return name.strip() if _comparable(name, task) in skipped else None


def regression_target(row: Row, task: Task, place: str) -> float:
    """Return the number in a row's label column.

    Raises:
        UserError: the label is missing, or is not a finite number that float32 holds.
    """
    value, hint = _present(row, task, place), ""
    if isinstance(value, str):
        text = _with_point(value.strip(), task)
        if _NUMBER.fullmatch(text):
            value = float(text)
        elif _NUMBER.fullmatch(text.replace(",", ".", 1)):
            hint = "; if its comma is a decimal comma, set task.decimal=comma"
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        try:
            found = float(value)
        except OverflowError:
            found = math.inf
        if abs(found) <= LARGEST_NUMBER:
            return found
        hint = f" up to {LARGEST_NUMBER:.4g}, the largest that float32 holds"
    raise UserError(
        f"{place}: {task.label!r} is {_shown(row[task.label])}, but task.kind=regression needs a "
        f"finite number{hint}"
    )


def encode_labels(labels: Sequence[str] | Sequence[float], names: tuple[str, ...]) -> np.ndarray:
    """Return training targets `(n,)`: class numbers as int64, or regression targets as float32.

    Args:
        labels: the rows' labels: class names, or numbers.
        names: names of the classes, in order; a single name means a regression.
    """
    if len(names) == 1:
        return np.array(labels, dtype=np.float32)
    numbers = class_numbers(names)
    return np.array([numbers[str(label)] for label in labels], dtype=np.int64)


def class_numbers(names: Sequence[str]) -> dict[str, int]:
    """Return the number of each class by its name; true and false also by their other spellings.

    JSONL and Parquet have booleans, which become `True` and `False`; CSV has what the program
    that wrote it spells, such as `true` or `TRUE`.
    """
    numbers = {name: number for number, name in enumerate(names)}
    for name, number in list(numbers.items()):
        if name.lower() in ("true", "false"):
            for spelling in (name.lower(), name.title(), name.upper()):
                numbers.setdefault(spelling, number)
    return numbers


def balanced_weights(targets: np.ndarray, n_classes: int) -> np.ndarray:
    """Return float32 weights `(n_classes,)`: n / (n_classes x rows of the class).

    King and Zeng 2001, as scikit-learn's `class_weight="balanced"`. Their mean over rows is 1.

    Args:
        targets: `(n,)` class numbers; every class has rows.
        n_classes: number of classes.
    """
    rows = np.bincount(targets, minlength=n_classes)
    return (len(targets) / (n_classes * rows)).astype(np.float32)


def _comparable(name: str, task: Task) -> str | Decimal:
    """Return a key that all spellings of a class share."""
    name = name.strip()
    text = _with_point(name, task)
    if _FRACTION.fullmatch(text) or re.fullmatch("-?[1-9][0-9]*|0", text):
        return Decimal(text)
    return name.lower() if name.lower() in ("true", "false") else name


def _as_whole(name: str, task: Task, place: str) -> str:
    """Return `1` for a name such as `1.0`, and refuse a fraction."""
    text = _with_point(name, task)
    if not _FRACTION.fullmatch(text) or (number := Decimal(text)).adjusted() > MOST_DIGITS:
        return name
    whole = _whole(number)
    if whole is None:
        raise _no_class(name, task, place)
    return str(whole)


def _whole(value: float | Decimal) -> int | None:
    return int(value) if math.isfinite(value) and int(value) == value else None


def _with_point(text: str, task: Task) -> str:
    """Return text with a decimal point where the task has a decimal comma, and the reverse."""
    return text.translate(_SWAPPED) if task.decimal == "comma" else text


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


def _no_class(value: object, task: Task, place: str) -> UserError:
    return UserError(
        f"{place}: {task.label!r} is {_shown(value)}, which cannot be a class name; a "
        "classification needs text or whole numbers, task.kind=regression takes any number"
    )


def _present(row: Row, task: Task, place: str) -> object:
    value = row[task.label]
    empty = isinstance(value, str) and not value.strip()
    if value is None or empty or (isinstance(value, float) and math.isnan(value)):
        raise _missing(task, place)
    return value


def _missing(task: Task, place: str) -> UserError:
    return UserError(f"{place}: the label is missing: {task.label!r} is empty")
