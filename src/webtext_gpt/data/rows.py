"""Rows of JSONL and Parquet files, each with its location for error messages."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from webtext_gpt.data.endings import JSON_LINES, PARQUET, ends_in
from webtext_gpt.data.json_row import HugeInteger, decode_row
from webtext_gpt.data.lines import numbered_lines
from webtext_gpt.errors import UserError

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
        file: Parquet if its ending says so, else JSONL, compressed or not. Empty lines of JSONL are
            skipped.
        columns: columns that every row must have; a Parquet file's other columns are not read.

    Raises:
        UserError: the file does not have the format of its suffix.
        MissingColumnError: a row lacks a column.
    """
    if ends_in(file, PARQUET):
        yield from _parquet_rows(file, columns)
    else:
        yield from _json_lines_rows(file, columns)


def holds_rows(file: Path) -> bool:
    """Return whether a file's ending is one of JSONL or Parquet."""
    return ends_in(file, JSON_LINES + PARQUET)


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
    for lines in numbered_lines(file, lambda _: None):
        for number, line in lines:
            place = f"{file}, line {number}"
            try:
                row = decode_row(line)
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{place} is not UTF-8: byte {line[error.start]:#04x} at position "
                    f"{error.start} of the line"
                ) from error
            except RecursionError as error:
                raise UserError(f"{place} is JSON nested too deeply to read") from error
            except ValueError as error:
                raise UserError(f"{place} is not JSON: {error}") from error
            if not isinstance(row, dict):
                raise UserError(f"{place} is {type(row).__name__}, not an object with keys")
            _check_columns(place, row, columns, "key")
            for column in columns:
                if isinstance(row[column], HugeInteger):
                    raise UserError(f"{place}: {column!r} is an integer of more than 4,300 digits")
            yield place, row


def _parquet_rows(file: Path, columns: Sequence[str]) -> Iterator[tuple[str, Row]]:
    from webtext_gpt.data.parquet import DAMAGE, open_parquet

    with open_parquet(file) as table:
        _check_columns(str(file), dict.fromkeys(table.schema_arrow.names), columns, "column")
        batches = table.iter_batches(columns=list(columns), batch_size=1024)
        number = 0
        while True:
            try:
                batch = next(batches, None)
                rows = [] if batch is None else batch.to_pylist()
            except DAMAGE as error:
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
