"""Rows of JSONL and Parquet files, each with its location for error messages."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webtext_gpt.data.diagnosis import diagnose
from webtext_gpt.data.endings import JSON_LINES, PARQUET, ends_in
from webtext_gpt.data.json_row import HugeInteger, decode_row
from webtext_gpt.data.lines import numbered_lines
from webtext_gpt.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]

Report = Callable[[str, int], None]
"""Called with the place of a tolerated fault, and the number of its occurrences there."""


class MissingColumnError(UserError):
    """A row lacks a column; the message lists the columns it has."""


class NotUnicodeError(UserError):
    """Bytes of a file are not UTF-8."""


def plural(number: float, noun: str = "row") -> str:
    """Return a number with its noun: `1 row`, `2,000 rows`, `0.465 epochs`."""
    text = f"{number:,}" if isinstance(number, int) else f"{number:.3g}"
    return f"{text} {noun}" + ("" if text == "1" else "s")


def other_case(missing: Iterable[str], present: Iterable[str]) -> str:
    """Return a hint for a message: missing columns that are present in another case."""
    names = {name.casefold(): name for name in present}
    pairs = [
        f"{column!r} is spelled {names[column.casefold()]!r} there"
        for column in missing
        if column.casefold() in names
    ]
    return f" ({', '.join(pairs)})" if pairs else ""


def read_rows(
    file: Path, columns: Sequence[str], on_replaced: Report | None = None
) -> Iterator[tuple[str, Row]]:
    """Yield `(place, row)` in file order; `place` names the file and row, for error messages.

    Args:
        file: Parquet if its ending says so, else JSONL, compressed or not. Empty lines of JSONL are
            skipped.
        columns: columns that every row must have; a Parquet file's other columns are not read.
        on_replaced: called for each row with bytes that are replaced by U+FFFD because they are
            not UTF-8; `None` refuses such a row.

    Raises:
        UserError: the file does not have the format of its suffix.
        NotUnicodeError: a row is not UTF-8.
        MissingColumnError: a row lacks a column.
    """
    if ends_in(file, PARQUET):
        yield from _parquet_rows(file, columns, on_replaced)
    else:
        yield from _json_lines_rows(file, columns, on_replaced)


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


def decoded(raw: bytes, encoding: str, place: str, on_replaced: Report) -> str:
    """Return decoded bytes; replace those that cannot be by U+FFFD, and report their number."""
    text = raw.decode(encoding, "replace")
    on_replaced(place, text.count("\ufffd") - raw.decode(encoding, "ignore").count("\ufffd"))
    return text


def _json_lines_rows(
    file: Path, columns: Sequence[str], on_replaced: Report | None
) -> Iterator[tuple[str, Row]]:
    for lines in numbered_lines(file, lambda _: None):
        for number, line in lines:
            place = f"{file}, line {number}"
            try:
                row = _json_row(line, place, on_replaced)
            except UnicodeDecodeError as error:
                raise NotUnicodeError(
                    f"{place} is not UTF-8: byte {line[error.start]:#04x} at position "
                    f"{error.start} of the line; {_conversion(file)}"
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


def _json_row(line: bytes, place: str, on_replaced: Report | None) -> object:
    try:
        return decode_row(line)
    except UnicodeDecodeError:
        if on_replaced is None:
            raise
    return decode_row(decoded(line, "utf-8", place, on_replaced).encode())


def _conversion(file: Path) -> str:
    """Return how to convert a JSONL file that is not UTF-8, or that it is damaged."""
    lines = (line for lines in numbered_lines(file, lambda _: None) for _, line in lines)
    found = diagnose(lines)
    if found == "damaged UTF-8":
        return "most of the file is UTF-8, so it is damaged"
    encoding = {"cp1252": "WINDOWS-1252", "latin-1": "LATIN1"}.get(found, "ENCODING")
    return f"JSON is UTF-8: convert the file, for example with iconv -f {encoding} -t UTF-8"


def _parquet_rows(
    file: Path, columns: Sequence[str], on_replaced: Report | None
) -> Iterator[tuple[str, Row]]:
    from webtext_gpt.data.parquet import DAMAGE, open_parquet

    with open_parquet(file) as table:
        names = table.schema_arrow.names
        _check_columns(str(file), dict.fromkeys(names), columns, "column")
        for column in columns:
            if names.count(column) > 1:
                raise UserError(f"{file}: {names.count(column)} columns are named {column!r}")
        batches = table.iter_batches(columns=list(columns), batch_size=1024)
        number = 0
        while True:
            try:
                batch = next(batches, None)
                rows = [] if batch is None else _plain_rows(file, number, batch, on_replaced)
            except DAMAGE as error:
                raise UserError(
                    f"{file} is damaged: rows from {number} on cannot be read: {error}"
                ) from error
            if batch is None:
                return
            for row in rows:
                yield f"{file}, row {number}", row
                number += 1


def _plain_rows(
    file: Path, number: int, batch: "pa.RecordBatch", on_replaced: Report | None
) -> list[Row]:
    """Return a batch as Python's values; `number` is its first row's."""
    try:
        rows: list[Row] = batch.to_pylist()
    except UnicodeDecodeError:
        return _decoded_rows(file, number, batch, on_replaced)
    return rows


def _decoded_rows(
    file: Path, number: int, batch: "pa.RecordBatch", on_replaced: Report | None
) -> list[Row]:
    import pyarrow as pa

    values: dict[str, list[Any]] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            values[name] = column.to_pylist()
            continue
        except UnicodeDecodeError:
            values[name] = column.cast(pa.large_binary()).to_pylist()
        for at, value in enumerate(values[name]):
            place = f"{file}, row {number + at}"
            try:
                values[name][at] = None if value is None else value.decode()
            except UnicodeDecodeError as error:
                if on_replaced is None:
                    bad = f"byte {value[error.start]:#04x} at position {error.start}"
                    raise NotUnicodeError(f"{place}: {name!r} is not UTF-8: {bad}") from error
                values[name][at] = decoded(value, "utf-8", place, on_replaced)
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


def _check_columns(place: str, row: Row, columns: Sequence[str], word: str) -> None:
    for column in columns:
        if column not in row:
            raise MissingColumnError(
                f"{place} has no {word} {column!r}, only {', '.join(row)}"
                f"{other_case([column], row)}"
            )
