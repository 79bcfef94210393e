"""Labelled examples of a task, read whole and checked, and its unlabelled texts as a stream."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from webtext_gpt.data.example_rows import Examples, collapsed, collect_examples, text_or_empty
from webtext_gpt.data.prepare import held_out
from webtext_gpt.data.task import Task
from webtext_gpt.data.task_rows import Source, file_source, hub_source
from webtext_gpt.errors import UserError


def read_examples(task: Task, split: str) -> Examples:
    """The rows of `train`, `validation` or `test`.

    Raises:
        UserError: the task has no such split, or what `read_file` raises.
    """
    if split != "test" and _holds_out(task):
        return _hold_out(task, _required(task, "train"))[split == "validation"]
    return _required(task, split)


def read_splits(task: Task) -> tuple[Examples, Examples, Examples | None]:
    """Rows for training, for validation, and for testing where there are any.

    Raises:
        UserError: there is nothing to train on, or what `read_file` raises.
    """
    train = _required(task, "train")
    if _holds_out(task):
        train, validation = _hold_out(task, train)
    else:
        validation = _required(task, "validation")
    source = _source(task, "test")
    return train, validation, None if source is None else collect_examples(task, source)


def read_file(task: Task, file: str | Path, labelled: bool = True) -> Examples:
    """The rows of a file that has the task's columns.

    Args:
        task: says the columns and the format.
        file: CSV, TSV, JSONL or Parquet.
        labelled: whether labels are there and read; without, texts may be empty.

    Raises:
        UserError: a column, a label or a text is missing, or is not what it must be; the message
            names the place.
    """
    if labelled:
        return collect_examples(task, file_source(task, file))
    rows = list(iter_texts(task, file))
    seconds = None if task.text_pair is None else [second or "" for _, _, second in rows]
    return Examples([text for _, text, _ in rows], seconds, [], [place for place, _, _ in rows])


def iter_texts(task: Task, file: str | Path) -> Iterator[tuple[str, str, str | None]]:
    """Yield `(place, text, second text or None)` of each row, read one by one.

    Labels are not needed, and texts may be empty.

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
        UserError: there is a single class, or `task.positive` is none of them.
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
            f"all {len(train)} rows of training have the label {names[0]!r} (task.label="
            f"{task.label}); a classification needs two classes at least"
        )
    if task.positive is not None and task.positive not in names:
        raise UserError(f"task.positive={task.positive} is none of the labels {_listed(names)}")
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


def _hold_out(task: Task, train: Examples) -> tuple[Examples, Examples]:
    held = [held_out(collapsed(text), task.val_fraction) for text in train.texts]
    if all(held) or not any(held):
        raise UserError(
            f"of {len(train)} rows of training, {sum(held)} fall to validation by task."
            f"val_fraction={task.val_fraction}; give task.validation=FILE, or another fraction"
        )
    mine = [row for row, out in enumerate(held) if not out]
    return train.subset(mine), train.subset(row for row, out in enumerate(held) if out)


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
