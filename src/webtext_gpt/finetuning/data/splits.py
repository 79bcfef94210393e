"""A task's training, validation and test sets, and the classes of the training set."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from webtext_gpt.data.prepare import held_out
from webtext_gpt.data.rows import plural
from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.data.examples import Examples, collapsed, collect_examples, print_once
from webtext_gpt.finetuning.data.labels import class_numbers
from webtext_gpt.finetuning.data.rows import DELIMITED, RowSource, file_source, hub_source
from webtext_gpt.finetuning.data.task import Task
from webtext_gpt.paths import place_of

NO_LABEL = "-"


def read_splits(task: Task) -> tuple[Examples, Examples, Examples | None]:
    """Read the training, validation and test sets; the test set is `None` if the task has none.

    Without a validation set, training rows are held out by a hash of their text. A class that
    training would then lack keeps its rows.

    Raises:
        UserError: there are no training rows; or see `collect_examples` and `label_names`.
    """
    train = _required(task, "train")
    _warn_of_header(task, train)
    _warn_of_no_label(task, train)
    label_names(train, task)  # before rows are held out, so that messages count all of them
    if _holds_out(task):
        train, validation = _hold_out(task, train)
    else:
        validation = _required(task, "validation")
    source = _source(task, "test")
    return train, validation, None if source is None else collect_examples(task, source)


def label_names(train: Examples, task: Task) -> tuple[str, ...]:
    """Return the classes of the training set: in the hub's order, else numeric, else alphabetic.

    A regression has one output, named after its label column. A `completion` task has none.

    Raises:
        UserError: there is only one class; `task.positive` is not one of the classes; or
            `task.metrics` has `f1_positive` for more than two classes and `task.positive` is null.
    """
    if task.kind != "classification":
        return (task.label,) if task.kind == "regression" else ()
    found = {str(label) for label in train.labels}
    for word in ("true", "false"):  # one class, however it is spelled; see `class_numbers`
        found -= set(sorted(name for name in found if name.lower() == word)[1:])
    if train.classes is not None:
        names = [name for name in train.classes if name in found]
    elif all(name.removeprefix("-").isdecimal() for name in found):
        names = sorted(found, key=lambda name: (int(name), name))
    else:
        names = sorted(found)
    if len(names) == 1:
        raise UserError(
            f"{plural(len(train))} of training, all with the label {names[0]!r} (task.label="
            f"{task.label}); a classification needs at least two classes"
        )
    if task.positive is not None and task.positive not in names:
        raise UserError(f"task.positive={task.positive} is none of the labels {_listed(names)}")
    if task.positive is None and "f1_positive" in task.metrics and len(names) > 2:
        raise UserError(
            f"task.metrics=[{','.join(task.metrics)}]: f1_positive measures one class, but there "
            f"are {len(names)}; name it with task.positive=, or use f1_macro"
        )
    return tuple(names)


def check_labels(examples: Examples, labels: tuple[str, ...], task: Task) -> None:
    """Refuse examples of a class that training has not seen.

    Raises:
        UserError: names the place and label of the first such row, and the known classes.
    """
    if task.kind != "classification":
        return
    known = class_numbers(labels)
    for label, place in zip(examples.labels, examples.places, strict=True):
        if label not in known:
            raise UserError(
                f"{place}: the label {label!r} is not one that training has seen: {_listed(labels)}"
            )


def warn_of_overlap(train: Examples, examples: Examples, name: str) -> None:
    """Print a warning if rows to be measured are also in the training set.

    Args:
        train: the training set.
        examples: rows to be measured.
        name: name of their split, `validation` or `test`.
    """
    if same := overlap(train, examples):
        print_once(
            f"warning: {len(same):,} of the {len(examples):,} {name} rows are in the training data "
            f"too, the first {examples.places[same[0]]}; {name} figures are inflated"
            + (" and mean nothing" if len(same) > len(examples) / 2 else "")
        )


def warn_of_trained(trained: Task, examples: Examples, name: str) -> None:
    """Print a warning if a classifier is measured on rows that it was trained on.

    The training file is read again, if it is still there; rows that were held out of it are not
    counted. Nothing is read from the hub.

    Args:
        trained: the task that the classifier was trained on.
        examples: rows to be measured.
        name: their file.
    """
    if trained.train is None or not place_of(trained.train).is_file():
        return
    source = file_source(trained, trained.train)
    seen = set[tuple[str, str]]()
    try:
        for _, row in source.rows:
            second = None if trained.text_pair is None else row[trained.text_pair]
            key = collapsed(str(row[trained.text])), collapsed(str(second or ""))
            if not (_holds_out(trained) and held_out(key[0], trained.val_fraction)):
                seen.add(key)
    except UserError:  # the file has changed since, and is not the one of training
        return
    keys = examples.keys()
    if same := sum(key in seen for key in keys):
        print_once(
            f"warning: {same:,} of the {len(examples):,} rows of {name} are in the training data "
            f"too, task.train={trained.train}; the figures are inflated"
            + (" and mean nothing" if same > len(examples) / 2 else "")
        )


def overlap(train: Examples, other: Examples) -> list[int]:
    """Return the numbers of the rows of `other` that are also in `train`, by `Examples.keys`."""
    seen = set(train.keys())
    return [row for row, key in enumerate(other.keys()) if key in seen]


def _source(task: Task, split: str) -> RowSource | None:
    file = {"train": task.train, "validation": task.validation, "test": task.test}[split]
    if file is not None:
        return file_source(task, file, key=f"task.{split}")
    name = task.splits.get(split)
    if task.hub is None or task.train is not None or name is None:
        return None
    return hub_source(task, name)


def _required(task: Task, split: str) -> Examples:
    source = _source(task, split)
    if source is None:
        raise UserError(
            f"task={task.name} has no {split} rows: give a file, task.{split}=FILE, or a dataset "
            f"of the hub, task.hub=NAME with task.splits.{split}=SPLIT"
        )
    return collect_examples(task, source)


def _warn_of_header(task: Task, train: Examples) -> None:
    """Print a warning if the first line may be a header that was read as an example.

    This is likely if the file is read without a header and no other row has the first row's label.
    """
    file = Path(task.train or "")
    has_cells = file.suffix.lower() in DELIMITED or task.separator is not None
    if task.kind != "classification" or task.columns is None or not has_cells:
        return
    if train.places[0] == f"{task.train}, line 1" and train.labels[0] not in train.labels[1:]:
        print_once(
            f"warning: {train.places[0]}: no other row has the label {train.labels[0]!r}; if this "
            "line is a header, set task.columns=null and task.text=, task.label= to its names"
        )


def _warn_of_no_label(task: Task, train: Examples) -> None:
    """Print a warning if a class may be SNLI's mark of a row without a label."""
    count = list(map(str, train.labels)).count(NO_LABEL)
    if task.kind == "classification" and count:
        print_once(
            f"warning: {plural(count)} of training with the label {NO_LABEL!r}, SNLI's mark of a "
            f"row without one; task.skip_labels=[{NO_LABEL}] leaves them out"
        )


def _holds_out(task: Task) -> bool:
    from_hub = task.hub is not None and task.train is None
    return task.validation is None and not (from_hub and "validation" in task.splits)


def _hold_out(task: Task, train: Examples) -> tuple[Examples, Examples]:
    """Split training rows in two by a hash of their text."""
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
            f"{sum(held)} of {plural(len(train))} of training would be held out for validation "
            f"with task.val_fraction={task.val_fraction}; give task.validation=FILE, or another "
            "fraction"
        )
    mine = [row for row, out in enumerate(held) if not out]
    kept = dataclasses.replace(train.subset(mine), skipped=train.skipped)
    return kept, train.subset(row for row, out in enumerate(held) if out)


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
