"""A task's examples: its training, validation and test sets and its classes.

Each set is one source's rows, which `collected` reads and checks. Unlabelled texts are a stream.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from webtext_gpt.data.prepare import held_out
from webtext_gpt.data.rows import plural
from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.data.collected import (
    Examples,
    collapsed,
    collect_examples,
    say,
    text_or_empty,
)
from webtext_gpt.finetuning.data.rows import DELIMITED, Source, file_source, hub_source
from webtext_gpt.finetuning.data.task import Task


def read_splits(task: Task) -> tuple[Examples, Examples, Examples | None]:
    """Rows for training, for validation, and for testing where there are any.

    Where nothing is given for validation, rows are held out by their text, but none of a class
    that training would lack then.

    Raises:
        UserError: there is nothing to train on, or what `read_file` and `label_names` raise.
    """
    train = _required(task, "train")
    _warn_of_header(task, train)
    label_names(train, task)  # of all rows: refused before some are held out
    if _holds_out(task):
        train, validation = _hold_out(task, train)
    else:
        validation = _required(task, "validation")
    source = _source(task, "test")
    return train, validation, None if source is None else collect_examples(task, source)


def read_file(task: Task, file: str | Path) -> Examples:
    """The labelled rows of a file that has the task's columns.

    Args:
        task: says the columns and the format.
        file: CSV, TSV, JSONL or Parquet.

    Raises:
        UserError: a column, a label or a text is missing, or is not what it must be; the message
            names the place.
    """
    return collect_examples(task, file_source(task, file))


def iter_texts(task: Task, file: str | Path) -> Iterator[tuple[str, str, str | None]]:
    """Yield `(place, text, second text or None)` of each row, read one by one.

    Labels are not needed, and texts may be empty. A file without a header may lack the column of
    labels; between spaces it is taken to lack it, so that each line is a text.

    Raises:
        UserError: the file or one of its rows cannot be read.
    """
    for place, row in file_source(task, file, labelled=False).rows:
        second = None if task.text_pair is None else text_or_empty(row, task.text_pair, place)
        yield place, text_or_empty(row, task.text, place), second


def label_names(train: Examples, task: Task) -> tuple[str, ...]:
    """The classes that training knows: in the hub's order, else by number, else by alphabet.

    A regression has one output, named for its column; pairs have none.

    Raises:
        UserError: there is a single class, or `task.positive` is none of them, or null where
            `task.metrics` has `f1_positive` of more than two.
    """
    if task.kind != "classification":
        return (task.label,) if task.kind == "regression" else ()
    found = {str(label) for label in train.labels}
    if train.classes is not None:
        names = [name for name in train.classes if name in found]
    elif all(name.removeprefix("-").isdecimal() for name in found):
        names = sorted(found, key=lambda name: (int(name), name))
    else:
        names = sorted(found)
    if len(names) == 1:
        raise UserError(
            f"{plural(len(train))} of training, all with the label {names[0]!r} (task.label="
            f"{task.label}); a classification needs two classes at least"
        )
    if task.positive is not None and task.positive not in names:
        raise UserError(f"task.positive={task.positive} is none of the labels {_listed(names)}")
    if task.positive is None and "f1_positive" in task.metrics and len(names) > 2:
        raise UserError(
            f"task.metrics=[{','.join(task.metrics)}]: f1_positive is of one class, and there are "
            f"{len(names)}; choose it by task.positive=, or take f1_macro"
        )
    return tuple(names)


def check_labels(examples: Examples, labels: tuple[str, ...], task: Task) -> None:
    """Refuse examples of a class that training has not seen.

    Raises:
        UserError: names the first one's place and label, and the known ones.
    """
    if task.kind != "classification":
        return
    for label, place in zip(examples.labels, examples.places, strict=True):
        if label not in labels:
            raise UserError(
                f"{place}: the label {label!r} is not one that training has seen: {_listed(labels)}"
            )


def overlap(train: Examples, other: Examples) -> list[int]:
    """Numbers of the rows of `other` whose texts are also in training, by `Examples.keys`."""
    seen = set(train.keys())
    return [row for row, key in enumerate(other.keys()) if key in seen]


def _source(task: Task, split: str) -> Source | None:
    file = {"train": task.train, "validation": task.validation, "test": task.test}[split]
    if file is not None:
        return file_source(task, file)
    name = task.splits.get(split)
    if task.hub is None or task.train is not None or name is None:
        return None
    return hub_source(task, name)


def _holds_out(task: Task) -> bool:
    from_hub = task.hub is not None and task.train is None
    return task.validation is None and not (from_hub and "validation" in task.splits)


def _required(task: Task, split: str) -> Examples:
    source = _source(task, split)
    if source is None:
        raise UserError(
            f"task={task.name} has no {split} rows: give a file, task.{split}=FILE, or a data set "
            f"of the hub, task.hub=NAME with task.splits.{split}=SPLIT"
        )
    return collect_examples(task, source)


def _warn_of_header(task: Task, train: Examples) -> None:
    """Say where the first line of a file without a header is the only row of its class.

    Where it is a header of other names than the task's, it would be learned as an example.
    """
    file = Path(task.train or "")
    by_cells = file.suffix.lower() in DELIMITED or task.separator is not None
    if task.kind != "classification" or task.columns is None or not by_cells:
        return
    if train.places[0] == f"{task.train}, line 1" and train.labels[0] not in train.labels[1:]:
        say(
            f"warning: {train.places[0]}: no other row has the label {train.labels[0]!r}; where "
            "this line is a header, set task.columns=null and task.text=, task.label= to its names"
        )


def _hold_out(task: Task, train: Examples) -> tuple[Examples, Examples]:
    keys = [collapsed(text) for text in train.texts]
    held = [held_out(key, task.val_fraction) for key in keys]
    if task.kind == "classification":
        learned = {label for label, out in zip(train.labels, held, strict=True) if not out}
        needed = {
            key for key, label in zip(keys, train.labels, strict=True) if label not in learned
        }
        held = [out and key not in needed for key, out in zip(keys, held, strict=True)]
    if all(held) or not any(held):
        raise UserError(
            f"of {plural(len(train))} of training, {sum(held)} fall to validation by task."
            f"val_fraction={task.val_fraction}; give task.validation=FILE, or another fraction"
        )
    mine = [row for row, out in enumerate(held) if not out]
    return train.subset(mine), train.subset(row for row, out in enumerate(held) if out)


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
