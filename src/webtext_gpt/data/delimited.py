"""Rows of CSV, TSV and other files whose cells stand between separators, with their places.

CSV is read as RFC 4180 has it: a quoted cell may hold separators, doubled quotes and line ends.
TSV, as GLUE's files are, knows no quotes: every quote character is text.
"""

import codecs
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from webtext_gpt.data.rows import MissingColumnError, Row
from webtext_gpt.errors import UserError

LARGEST_CELL = 2**24
"""Characters of a quoted cell; one that seems longer has a quote left open."""


def read_delimited(
    file: Path,
    columns: Sequence[str],
    *,
    separator: str | None = None,
    names: Sequence[str] | None = None,
    quotes: bool | None = None,
    encoding: str = "utf-8",
) -> Iterator[tuple[str, Row]]:
    r"""Yield `(place, row)` in order; the place names the file and the line where the row begins.

    A first row that has all of `columns` among its cells is the header. Empty lines are no rows.
    Line ends are read as `\n`.

    Args:
        file: read line by line.
        columns: those that every row must have.
        separator: one character; null: a tab for `.tsv`, else a comma. Between spaces, the last
            column takes the rest of its line.
        names: of the columns of a file without a header.
        quotes: whether cells may be quoted; null: unless the separator is a tab or a space.
        encoding: of the text, one that ASCII is part of.

    Raises:
        UserError: a row has too few or too many cells, or the bytes are not such a file's;
            `MissingColumnError`: the columns are not there, or have no names.
    """
    if separator is None:
        separator = "\t" if file.suffix.lower() == ".tsv" else ","
    check_separator(separator)
    check_encoding(encoding)
    if quotes is None:
        quotes = separator not in "\t "
    lines = _lines(file, encoding)
    if quotes:
        rows = _quoted_rows(file, lines, separator)
    else:
        rows = _unquoted_rows(lines, separator, len(names) if names else None)

    header: list[str] | None = None
    count = 0
    for line, cells in rows:
        place = f"{file}, line {line}"
        if header is None:
            found = [cell.strip() for cell in cells]
            if all(column in found for column in columns):
                header = _checked_header(place, found, columns)
                continue
            header = _given_names(place, found, columns, names)
        count += 1
        if len(cells) != len(header):
            raise UserError(
                f"{place} (row {count}) has {len(cells)} cells, but {len(header)} are expected "
                f"({', '.join(header)}); perhaps task.separator={separator!r}, task.quotes="
                f"{str(quotes).lower()} or, where there is no header, task.columns is not right"
            )
        yield place, dict(zip(header, cells, strict=True))


def check_separator(separator: str) -> None:
    """Refuse what cannot stand between cells.

    Raises:
        UserError: it is not one character, or a quote or a line end.
    """
    if len(separator) != 1 or separator in '"\r\n':
        raise UserError(
            f"task.separator={separator!r} must be one character, neither a quote nor a line end"
        )


def check_encoding(encoding: str) -> None:
    """Refuse an encoding that is unknown, or whose line ends are not ASCII's.

    Raises:
        UserError: names the encoding.
    """
    try:
        readable = b"\n".decode(encoding) == "\n"
    except (LookupError, UnicodeError):
        readable = False
    if not readable:
        raise UserError(
            f"task.encoding={encoding} is no encoding of text that ASCII is part of, as utf-8, "
            "latin-1 or cp1252 are; save the file as UTF-8"
        )


def _checked_header(place: str, header: list[str], columns: Sequence[str]) -> list[str]:
    for column in columns:
        if header.count(column) > 1:
            raise UserError(f"{place}: {header.count(column)} columns are named {column!r}")
    return header


def _given_names(
    place: str, first: list[str], columns: Sequence[str], names: Sequence[str] | None
) -> list[str]:
    missing = ", ".join(repr(column) for column in columns if column not in (names or first))
    if names is None:
        cells = ", ".join(cell if len(cell) <= 40 else f"{cell[:40]}..." for cell in first[:20])
        raise MissingColumnError(
            f"{place} is the first row and has no column {missing}, only the cells: {cells}; "
            "where these are no header, name the columns: task.columns=[...]"
        )
    if missing:
        raise MissingColumnError(
            f"{place} is no header, and task.columns=[{','.join(names)}] has no column {missing}"
        )
    return list(names)


def _lines(file: Path, encoding: str) -> Iterator[str]:
    number = 0
    with file.open("rb") as stream:
        for number, raw in enumerate(stream, start=1):
            place = f"{file}, line {number}"
            if number == 1 and raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise UserError(f"{file} is UTF-16 by its first bytes; save it as UTF-8")
            try:
                line = raw.removeprefix(codecs.BOM_UTF8 if number == 1 else b"").decode(encoding)
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{place} is not {encoding}: byte {error.object[error.start]:#04x}; if it is "
                    "Western European text of another encoding, set task.encoding=latin-1"
                ) from error
            if "\0" in line:
                raise UserError(f"{place} holds a NUL byte; the file is not text, or is UTF-16")
            yield line.removesuffix("\n").removesuffix("\r") + "\n"
    if not number:
        raise UserError(f"{file} is empty")


def _unquoted_rows(
    lines: Iterator[str], separator: str, width: int | None
) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(lines, start=1):
        text = line.removesuffix("\n")
        if not text:
            continue
        if width is None:
            width = text.count(separator) + 1
        yield number, text.split(separator, width - 1 if separator == " " else -1)


def _quoted_rows(
    file: Path, lines: Iterator[str], separator: str
) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(lines, delimiter=separator, strict=True)
    while True:
        start = reader.line_num + 1
        others = csv.field_size_limit(LARGEST_CELL)  # a setting of the process: put back at once
        try:
            row = next(reader, None)
        except csv.Error as error:
            where = f"{file}: the row that begins in line {start} cannot be read ({error})"
            if "new-line" in str(error):
                raise UserError(f"{where}: a carriage return stands outside of quotes") from error
            raise UserError(
                f"{where}: a quote is left open, or stands alone in a quoted cell; where quotes "
                "are text, set task.quotes=false"
            ) from error
        finally:
            csv.field_size_limit(others)
        if row is None:
            return
        if row:
            yield start, row
