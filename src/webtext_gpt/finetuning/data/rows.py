"""A task's rows, read one at a time from a file or from a split of a hub dataset."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from webtext_gpt.data.rows import (
    MissingColumnError,
    NotUnicodeError,
    Row,
    close_columns,
    holds_rows,
    missing_columns,
    read_rows,
)
from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.data.delimited import PLAIN, CsvStyle, read_delimited, style_of
from webtext_gpt.finetuning.data.task import Task
from webtext_gpt.hub import hub_access, hub_problem
from webtext_gpt.paths import absence, readable_path, shown
from webtext_gpt.signatures import head_of, refuse_other_kind, wide_encoding
from webtext_gpt.terminal import quoted

DELIMITED = {".csv", ".tsv"}
REPLACED = "bytes that are not in its encoding, read as U+FFFD"
DOUBTFUL = (
    "warning: lines that look like UTF-8 but were read with task.encoding={}; if accents or quotes "
    "come out wrong, set task.encoding=utf-8"
)
EXTRA = "rows with cells after the last column, which were dropped"


@dataclass
class Faults:
    """Faults of a file that the task allows, counted while its rows are read."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, list[str]] = field(default_factory=dict)
    """Places of the first faults of each kind, at most three."""

    def add(self, what: str, place: str, count: int) -> None:
        """Count a fault."""
        self.counts[what] += count
        places = self.first.setdefault(what, [])
        if len(places) < 3:
            places.append(place)

    def remarks(self, name: str) -> list[str]:
        """Return a line for each kind of fault in the file of this name."""
        return [
            f"{name}: {what}: {count:,}, the first in {'; '.join(self.first[what])}"
            for what, count in self.counts.items()
        ]


@dataclass(frozen=True)
class RowSource:
    """Rows of a file or a hub split; nothing is read until `rows` is iterated.

    Attributes:
        name: the file, or the dataset and its split, for messages.
        rows: `(place, row)` of each row.
        classes: class names, if labels are class numbers.
        faults: faults that were found so far and are allowed.
    """

    name: str
    rows: Iterator[tuple[str, Row]]
    classes: tuple[str, ...] | None = None
    faults: Faults = field(default_factory=Faults)


def wanted_columns(task: Task, labeled: bool = True) -> list[str]:
    """Return the columns that every row of a task must have."""
    columns = (task.text, task.text_pair, task.label if labeled else None)
    return [column for column in columns if column is not None]


def file_source(
    task: Task,
    file: str | Path,
    labeled: bool = True,
    key: str = "task.train",
    every_column: bool = False,
) -> RowSource:
    """Open a CSV, TSV, JSONL or Parquet file; with `task.separator`, any file of delimited cells.

    Args:
        task: names the columns and the format.
        file: the file to read.
        labeled: whether the label column is needed.
        key: the setting that names the file, for messages.
        every_column: read all columns, also those that the task does not name.

    Raises:
        UserError: the file does not exist, or its suffix is unknown. For errors while rows are
            read, see `read_rows` and `read_delimited`.
    """
    path = readable_path(file, key)
    if not path.is_file():
        problem = "is a folder, not a file" if path.is_dir() else absence(path)
        raise UserError(f"{key}={shown(file)} {problem}")
    is_known = path.suffix.lower() in DELIMITED or holds_rows(path)
    if not is_known and task.separator is None:
        if not wide_encoding(head := head_of(path)):
            refuse_other_kind(path, head, "CSV, TSV, JSONL or Parquet")
        raise UserError(
            f"{file}: the suffix is none of .csv (CSV), .tsv (TSV), .jsonl .ndjson (JSONL), "
            ".parquet .pq (Parquet); to read another file as delimited cells, set task.separator, "
            "as task.separator=tab"
        )
    faults = Faults()
    rows = _file_rows(task, path, wanted_columns(task, labeled), faults, every_column)
    return RowSource(str(file), rows, faults=faults)


def hub_source(task: Task, split: str) -> RowSource:
    """Open a split of a hub dataset, or of a folder that `datasets` reads.

    Args:
        task: names the dataset.
        split: the hub's name for the split.

    Raises:
        UserError: the split cannot be loaded, or lacks a column.
    """
    import datasets

    files = "local files can be given: task.train=FILE task.validation=FILE"
    try:
        with hub_access():
            dataset = datasets.load_dataset(
                task.hub, task.config, split=split, revision=task.revision
            )
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise UserError(
            f"task.hub={task.hub}: split {split!r} cannot be loaded: {hub_problem(error)}; {files}"
        ) from error
    name = f"{task.hub}, split {split}"
    columns = wanted_columns(task)
    if missing := [column for column in columns if column not in dataset.column_names]:
        raise _with_keys(
            task, missing_columns(f"task.hub={task.hub}", missing, dataset.column_names)
        )
    label = dataset.features[task.label]
    classes = tuple(label.names) if isinstance(label, datasets.ClassLabel) else None
    return RowSource(name, _hub_rows(dataset.select_columns(columns), name), classes)


def csv_style(task: Task, file: str | Path) -> CsvStyle:
    """Return the style in which to write CSV that belongs beside a file; see `style_of`."""
    path = readable_path(file, "predict")
    return PLAIN if holds_rows(path) else style_of(path, task.separator, task.encoding)


def _file_rows(
    task: Task, file: Path, columns: Sequence[str], faults: Faults, every_column: bool
) -> Iterator[tuple[str, Row]]:
    on_replaced = partial(faults.add, REPLACED) if task.on_error == "replace" else None
    try:
        if holds_rows(file):
            yield from read_rows(file, columns, on_replaced, every_column=every_column)
        else:
            yield from read_delimited(
                file,
                columns,
                separator=task.separator,
                names=task.columns,
                quotes=task.quotes,
                encoding=task.encoding,
                optional=None if task.label in columns else task.label,
                on_replaced=on_replaced,
                on_extra=partial(faults.add, EXTRA) if task.extra_cells == "drop" else None,
                on_utf8=partial(faults.add, DOUBTFUL.format(task.encoding)),
            )
    except NotUnicodeError as error:
        raise UserError(f"{error}; task.on_error=replace reads U+FFFD for the bytes") from error
    except MissingColumnError as error:
        has_header = holds_rows(file) or task.columns is not None
        raise _with_keys(task, error, has_header) from None


def _hub_rows(dataset: Any, name: str) -> Iterator[tuple[str, Row]]:
    number = 0
    for batch in dataset.iter(batch_size=1000):
        for values in zip(*batch.values(), strict=True):
            yield f"{name}, row {number}", dict(zip(batch, values, strict=True))
            number += 1


def _with_keys(
    task: Task, error: MissingColumnError, has_header: bool = True
) -> MissingColumnError:
    """Return the error with the keys that name the missing columns, as the shell takes them.

    Args:
        task: names the columns.
        error: says which columns are missing.
        has_header: whether the columns surely have names; otherwise the first row may be data.
    """
    given = {"text": task.text, "text_pair": task.text_pair, "label": task.label}
    missing = {key: column for key, column in given.items() if column and column in error.missing}
    if not missing:
        return error
    near = close_columns(error.missing, error.present)
    keys = (quoted(f"task.{key}={near.get(column, '...')}") for key, column in missing.items())
    advice = f"; set {' '.join(keys)}"
    if not (has_header or near or set(given.values()) & set(error.present)):
        advice += "; if this row is not a header, name its columns: 'task.columns=[...]'"
    return MissingColumnError(f"{error}{advice}", error.missing, error.present)
