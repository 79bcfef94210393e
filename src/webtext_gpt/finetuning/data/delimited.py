"""Rows of CSV, TSV and other files whose cells stand between separators, with their places.

CSV is read as RFC 4180 has it: a quoted cell may hold separators, doubled quotes and line ends.
TSV, as GLUE's files are, knows no quotes: every quote character is text.
"""

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from webtext_gpt.data.rows import MissingColumnError, Row, other_case, plural
from webtext_gpt.errors import UserError

LARGEST_CELL = 2**24
"""Characters of a quoted cell; one that seems longer has a quote left open."""

SEPARATOR_NAMES = {"tab": "\t", "space": " ", "semicolon": ";", "pipe": "|", "comma": ","}
"""Words for separators that mean something else to a shell or to Hydra."""


def read_delimited(
    file: Path,
    columns: Sequence[str],
    *,
    separator: str | None = None,
    names: Sequence[str] | None = None,
    quotes: bool | None = None,
    encoding: str = "utf-8",
    optional: str | None = None,
) -> Iterator[tuple[str, Row]]:
    r"""Yield `(place, row)` in order; the place names the file and the line where the row begins.

    A first row that has all of `columns` among its cells is the header. Before it may stand a line
    `sep=;`, as Excel writes it. Empty lines are no rows. Line ends are read as `\n`.

    Args:
        file: read line by line.
        columns: those that every row must have.
        separator: one character; null: what a line `sep=` says, or a tab for `.tsv`, else a comma.
            Between spaces, the last column takes the rest of its line.
        names: of the columns of a file without a header.
        quotes: whether cells may be quoted; null: unless the separator is a tab or a space.
        encoding: of the text, one that ASCII is part of.
        optional: one of `names` that a file without a header may lack, as its first row's cells
            tell by their number; between spaces, where they cannot tell, it is lacking.

    Raises:
        UserError: a row has too few or too many cells, or the bytes are not such a file's;
            `MissingColumnError`: the columns are not there, or have no names.
    """
    if separator is not None:
        check_separator(separator)
    check_encoding(encoding)
    lines = _lines(file, encoding)
    first = next(lines)
    said = re.fullmatch(r'sep=([^"\r\n])\n', first, re.IGNORECASE)
    if said is None:
        lines = chain([first], lines)
    skipped = 1 if said else 0
    if separator is None:
        default = "\t" if file.suffix.lower() == ".tsv" else ","
        separator = said[1] if said else default
    if quotes is None:
        quotes = separator not in "\t "
    shorter = [name for name in names or () if name != optional]
    if separator == " " and names:
        names = shorter
    if quotes:
        rows = _quoted_rows(file, lines, separator, skipped)
    else:
        rows = _unquoted_rows(lines, separator, len(names) if names else None, skipped)

    header: list[str] | None = None
    count = 0
    for line, cells in rows:
        place = f"{file}, line {line}"
        if header is None:
            found = [cell.strip() for cell in cells]
            if all(column in found for column in columns):
                header = _checked_header(place, found, columns)
                continue
            if names and len(cells) == len(shorter):
                names = shorter
            header = _given_names(place, found, columns, names, separator)
        count += 1
        if len(cells) != len(header):
            raise UserError(
                f"{place} (row {count}) has {plural(len(cells), 'cell')}, but {len(header)} are "
                f"expected ({', '.join(header)}); try task.quotes={str(not quotes).lower()}, "
                f"another task.separator than {separator!r} or, where there is no header, other "
                "task.columns"
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
    place: str,
    first: list[str],
    columns: Sequence[str],
    names: Sequence[str] | None,
    separator: str,
) -> list[str]:
    folded = {cell.casefold() for cell in first}
    if names is None or all(column.casefold() in folded for column in columns):
        lacking = [column for column in columns if column not in first]
        cells = ", ".join(cell if len(cell) <= 40 else f"{cell[:40]}..." for cell in first[:20])
        raise MissingColumnError(
            f"{place} is the first row and has no column {', '.join(map(repr, lacking))}, only the "
            f"cells: {cells}{other_case(lacking, first) or _advice(first, separator)}"
        )
    if missing := ", ".join(repr(column) for column in columns if column not in names):
        raise MissingColumnError(
            f"{place} is no header, and task.columns=[{','.join(names)}] has no column {missing}"
        )
    return list(names)


def _advice(first: list[str], separator: str) -> str:
    """What to do about a first row that is not the header it should be."""
    for word, other in SEPARATOR_NAMES.items():
        if len(first) == 1 and other in first[0] and other not in (separator, " ", ","):
            return f"; where its cells stand between {other!r}, set task.separator={word}"
    return "; where these are no header, name the columns: task.columns=[...]"


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
    lines: Iterator[str], separator: str, width: int | None, skipped: int
) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(lines, start=skipped + 1):
        text = line.removesuffix("\n")
        if not text:
            continue
        if width is None:
            width = text.count(separator) + 1
        yield number, text.split(separator, width - 1 if separator == " " else -1)


def _quoted_rows(
    file: Path, lines: Iterator[str], separator: str, skipped: int
) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(lines, delimiter=separator, strict=True)
    while True:
        start = skipped + reader.line_num + 1
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
