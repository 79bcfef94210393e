"""Rows of JSONL and Parquet files, each with the place it came from."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from webtext_gpt.errors import UserError

PARQUET = {".parquet", ".pq"}
JSON_LINES = {".jsonl", ".ndjson"}

Row = dict[str, Any]


class MissingColumnError(UserError):
    """A row lacks a column; the message names those that it has."""


def counted(number: int, noun: str = "row") -> str:
    """`1 row`, `2,000 rows`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def other_case(missing: Iterable[str], present: Iterable[str]) -> str:
    """For a message: which columns would be there but for capital and small letters."""
    names = {name.casefold(): name for name in present}
    pairs = [
        f"{column!r} is spelled {names[column.casefold()]!r} there"
        for column in missing
        if column.casefold() in names
    ]
    return f" ({', '.join(pairs)})" if pairs else ""


def read_rows(file: Path, columns: Sequence[str]) -> Iterator[tuple[str, Row]]:
    """Yield `(place, row)` in order; the place names the file and the row for messages.

    Args:
        file: JSONL, or Parquet by its ending. Empty lines of JSONL are no rows.
        columns: those that every row must have; of Parquet, no others are read.

    Raises:
        UserError: the file is not what its ending says; `MissingColumnError`: a row lacks one.
    """
    if file.suffix.lower() in PARQUET:
        yield from _parquet_rows(file, columns)
    else:
        yield from _json_lines_rows(file, columns)


def text_value(row: Row, column: str, place: str) -> str:
    """The text that a row has in a column.

    Raises:
        UserError: the value is something else, or text that UTF-8 cannot express.
    """
    value = row[column]
    if not isinstance(value, str):
        raise UserError(f"{place}: {column!r} is {type(value).__name__}, not text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{place}: character {error.start} of {column!r} is half of a surrogate pair"
        ) from error
    return value


def texts_value(row: Row, column: str, place: str) -> list[str]:
    """The texts of a column that holds lists of them. Raises as `text_value` does."""
    values = row[column]
    if not isinstance(values, list):
        raise UserError(f"{place}: {column!r} is {type(values).__name__}, not a list of texts")
    return [text_value({column: value}, column, place) for value in values]


def _json_lines_rows(file: Path, columns: Sequence[str]) -> Iterator[tuple[str, Row]]:
    position = 0
    with file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            place = f"{file}, line {number}"
            try:
                text = line.decode("utf-8").removeprefix("\ufeff")
                row = json.loads(text) if text.strip() else None
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{place} is not UTF-8: byte {line[error.start]:#04x} at position "
                    f"{position + error.start} of the file"
                ) from error
            except RecursionError as error:
                raise UserError(f"{place} is JSON of too many levels to be read") from error
            except ValueError as error:  # also an integer of more digits than Python converts
                raise UserError(f"{place} is not JSON: {error}") from error
            position += len(line)
            if row is None:
                continue
            if not isinstance(row, dict):
                raise UserError(f"{place} is {type(row).__name__}, not an object with keys")
            _check_columns(place, row, columns, "key")
            yield place, row


def _parquet_rows(file: Path, columns: Sequence[str]) -> Iterator[tuple[str, Row]]:
    import pyarrow
    import pyarrow.parquet

    broken = (pyarrow.ArrowException, OSError, UnicodeDecodeError)
    try:
        table = pyarrow.parquet.ParquetFile(file)
    except broken as error:
        if getattr(error, "errno", None) is not None:  # the system's: not there, not to be read
            raise
        raise UserError(f"{file} is not Parquet: {error}") from error
    _check_columns(str(file), dict.fromkeys(table.schema_arrow.names), columns, "column")
    batches = table.iter_batches(columns=list(columns), batch_size=1024)
    number = 0
    while True:
        try:
            batch = next(batches, None)
            rows = [] if batch is None else batch.to_pylist()
        except broken as error:
            raise UserError(
                f"{file} is damaged, its rows from {number} on cannot be read: {error}"
            ) from error
        if batch is None:
            return
        for row in rows:
            yield f"{file}, row {number}", row
            number += 1


def _check_columns(place: str, row: Row, columns: Sequence[str], word: str) -> None:
    for column in columns:
        if column not in row:
            raise MissingColumnError(
                f"{place} has no {word} {column!r}, only {', '.join(row)}"
                f"{other_case([column], row)}"
            )
