"""Rows of JSONL and Parquet files, each with its location for error messages."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from webtext_gpt.errors import UserError
from webtext_gpt.signatures import HEAD_BYTES, head_of, other_kind, refuse_other_kind

PARQUET = {".parquet", ".pq"}
JSON_LINES = {".jsonl", ".ndjson"}

Row = dict[str, Any]


class MissingColumnError(UserError):
    """A row lacks a column; the message lists the columns it has."""


def plural(number: int, noun: str = "row") -> str:
    """Return a number with its noun: `1 row`, `2,000 rows`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def other_case(missing: Iterable[str], present: Iterable[str]) -> str:
    """Return a hint for a message: missing columns that are present in another case."""
    names = {name.casefold(): name for name in present}
    pairs = [
        f"{column!r} is spelled {names[column.casefold()]!r} there"
        for column in missing
        if column.casefold() in names
    ]
    return f" ({', '.join(pairs)})" if pairs else ""


def read_rows(file: Path, columns: Sequence[str]) -> Iterator[tuple[str, Row]]:
    """Yield `(place, row)` in file order; `place` names the file and row, for error messages.

    Args:
        file: Parquet if its suffix says so, else JSONL. Empty lines of JSONL are skipped.
        columns: columns that every row must have; a Parquet file's other columns are not read.

    Raises:
        UserError: the file does not have the format of its suffix.
        MissingColumnError: a row lacks a column.
    """
    if file.suffix.lower() in PARQUET:
        yield from _parquet_rows(file, columns)
    else:
        yield from _json_lines_rows(file, columns)


def text_value(row: Row, column: str, place: str) -> str:
    """Return the text in a row's column.

    Raises:
        UserError: the value is not a string, or cannot be encoded as UTF-8.
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
    """Return the list of texts in a row's column; raises as `text_value` does."""
    values = row[column]
    if not isinstance(values, list):
        raise UserError(f"{place}: {column!r} is {type(values).__name__}, not a list of texts")
    return [text_value({column: value}, column, place) for value in values]


def _json_lines_rows(file: Path, columns: Sequence[str]) -> Iterator[tuple[str, Row]]:
    position = 0
    with file.open("rb") as stream:
        refuse_other_kind(file, stream.peek(HEAD_BYTES)[:HEAD_BYTES], "JSONL")
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
                raise UserError(f"{place} is JSON nested too deeply to read") from error
            except ValueError as error:  # also integers with more digits than Python converts
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
        if getattr(error, "errno", None) is not None:  # from the system: missing or unreadable
            raise
        known = other_kind(file, head_of(file), "Parquet")
        raise UserError(known or f"{file} is not Parquet: {error}") from error
    _check_columns(str(file), dict.fromkeys(table.schema_arrow.names), columns, "column")
    batches = table.iter_batches(columns=list(columns), batch_size=1024)
    number = 0
    while True:
        try:
            batch = next(batches, None)
            rows = [] if batch is None else batch.to_pylist()
        except broken as error:
            raise UserError(
                f"{file} is damaged: rows from {number} on cannot be read: {error}"
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
