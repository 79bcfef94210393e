"""Rows of CSV, TSV and other delimited files, each with its file and line.

CSV follows RFC 4180: a quoted cell may contain separators, doubled quotes and line ends. TSV, the
format of GLUE's files, has no quoting: a quote character is ordinary text.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from webtext_gpt.data.rows import (
    MissingColumnError,
    Report,
    Row,
    distinct,
    missing_columns,
    plural,
    short,
)
from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.data.decoding import check_encoding, decoded_lines, has_mark

LARGEST_CELL = 2**24
"""Maximum characters of a cell; a longer one means that its quote was never closed."""

SEPARATOR_NAMES = {"tab": "\t", "space": " ", "semicolon": ";", "pipe": "|", "comma": ","}
"""Names for separators that are awkward to write in a shell."""


def read_delimited(
    file: Path,
    columns: Sequence[str],
    *,
    separator: str | None = None,
    names: Sequence[str] | None = None,
    quotes: bool | None = None,
    encoding: str = "utf-8",
    optional: str | None = None,
    has_settings: bool = True,
    on_replaced: Report | None = None,
    on_extra: Report | None = None,
    on_utf8: Report | None = None,
) -> Iterator[tuple[str, Row]]:
    r"""Yield `(place, row)` in file order; the place is the file and the line the row begins on.

    If the first row contains all of `columns`, it is the header; of other columns with one name,
    the second is called `NAME.2`, and so on. A line `sep=;`, which Excel
    writes, may precede it. Empty lines are skipped, as are lines of white space if there are
    several columns. Line ends are read as `\n`.

    Args:
        file: the file, which is read line by line.
        columns: columns that every row must have.
        separator: one character. `None` takes it from a `sep=` line, or else means a tab for
            `.tsv` and a comma for other files. If it is a space, the last column takes the rest
            of the line.
        names: column names for a file without a header.
        quotes: whether cells may be quoted. `None` means yes, unless the separator is a tab or a
            space.
        encoding: the text's encoding; see `check_encoding`.
        optional: column that a headerless file may omit; detected by the number of cells in the
            first row, and assumed omitted if the separator is a space.
        has_settings: whether the caller has the settings `task.*` for these arguments; messages
            then name them, and otherwise say how to change the file.
        on_replaced: see `decoded_lines`.
        on_extra: called for each row with more cells than columns, whose surplus cells are dropped;
            `None` refuses such a row.
        on_utf8: see `decoded_lines`.

    Raises:
        UserError: a row has too few or too many cells, or the file cannot be decoded.
        MissingColumnError: a column is missing, or the columns have no names.
    """
    if separator is not None:
        check_separator(separator)
    check_encoding(encoding)
    lines = decoded_lines(file, encoding, has_settings, on_replaced, on_utf8)
    named, lines = _named_separator(lines)
    skipped = 1 if named else 0
    if separator is None:
        separator = named or ("\t" if file.suffix.lower() == ".tsv" else ",")
    quotes = separator not in "\t " if quotes is None else quotes
    shorter = [name for name in names or () if name != optional]
    if separator == " " and names:
        names = shorter
    if quotes:
        rows = _quoted_rows(file, lines, separator, skipped, has_settings)
    else:
        rows = _unquoted_rows(lines, separator, len(names) if names else None, skipped)

    header: list[str] | None = None
    count = 0
    for line, cells in rows:
        if len(header or shorter) != 1 and _is_blank(cells, separator):
            continue
        place = f"{file}, line {line}"
        if header is None:
            found = [cell.strip() for cell in cells]
            if all(column in found for column in columns):
                header = _checked_header(place, found, columns)
                continue
            if names and len(cells) == len(shorter):
                names = shorter
            header = _given_names(place, found, columns, names, separator, has_settings)
        count += 1
        if len(cells) < len(header) or (len(cells) > len(header) and on_extra is None):
            advice = _advice_on_cells(len(cells) - len(header), separator, quotes, has_settings)
            raise UserError(
                f"{place} (row {count}) has {plural(len(cells), 'cell')}, but {len(header)} are "
                f"expected ({', '.join(header)}); {advice}"
            )
        if len(cells) > len(header) and on_extra is not None:
            on_extra(place, 1)
        yield place, dict(zip(header, cells, strict=False))


class CsvStyle(NamedTuple):
    """What the cells of a file are separated by, and what comes ahead of its first row."""

    separator: str = ","
    head: str = ""
    """A byte order mark, and Excel's line `sep=;`, as far as the file has them."""


PLAIN = CsvStyle()


def style_of(file: Path, separator: str | None, encoding: str) -> CsvStyle:
    """Return the style in which to write CSV that belongs beside a file.

    Args:
        file: a file of delimited cells; one of tabs or spaces goes with ordinary CSV.
        separator: see `read_delimited`.
        encoding: see `read_delimited`.

    Raises:
        UserError: the file cannot be decoded.
    """
    named, _ = _named_separator(decoded_lines(file, encoding, on_replaced=lambda *_: None))
    used = separator or named or ("\t" if file.suffix.lower() == ".tsv" else ",")
    if used in "\t ":
        return PLAIN
    mark = "\ufeff" if has_mark(file) else ""
    return CsvStyle(used, f"{mark}sep={named}\r\n" if named else mark)


def check_separator(separator: str) -> None:
    """Refuse a string that cannot separate cells.

    Raises:
        UserError: it is not a single character, or is a quote or a line end.
    """
    if len(separator) != 1 or separator in '"\r\n':
        raise UserError(
            f"task.separator={separator!r} must be one character other than a quote or a line end"
        )


def _is_blank(cells: list[str], separator: str) -> bool:
    """Return whether a row is a line of white space that holds no separator but spaces."""
    return (len(cells) == 1 or separator == " ") and not "".join(cells).strip()


def _named_separator(lines: Iterator[str]) -> tuple[str | None, Iterator[str]]:
    """Return the separator that Excel's line `sep=;` names, if there is one, and other lines."""
    first = next(lines)
    excel = re.fullmatch(r'sep=([^"\r\n])\n', first, re.IGNORECASE)
    return (None, chain([first], lines)) if excel is None else (excel[1], lines)


def _checked_header(place: str, header: list[str], columns: Sequence[str]) -> list[str]:
    for column in columns:
        if header.count(column) > 1:
            raise UserError(f"{place}: {header.count(column)} columns are named {column!r}")
    return distinct(header)


def _given_names(
    place: str,
    first: list[str],
    columns: Sequence[str],
    names: Sequence[str] | None,
    separator: str,
    has_settings: bool,
) -> list[str]:
    """Return the column names of a headerless file, whose first row is data."""
    folded = {cell.casefold() for cell in first}
    if names is None or all(column.casefold() in folded for column in columns):
        lacking = [column for column in columns if column not in first]
        if separated := _other_separator(first, separator, has_settings):
            raise MissingColumnError(
                f"{place} has no column {', '.join(map(repr, lacking))}, only the cell "
                f"{short(first[0])!r}; {separated}"
            )
        error = missing_columns(place, lacking, first)
        advice = "" if has_settings else "; the first row must name the columns"
        raise MissingColumnError(f"{error}{advice}", lacking, first)
    if missing := [column for column in columns if column not in names]:
        raise MissingColumnError(
            f"{place} is not a header, and task.columns=[{','.join(names)}] has no column "
            f"{', '.join(map(repr, missing))}",
            missing,
            names,
        )
    return list(names)


def _advice_on_cells(surplus: int, separator: str, quotes: bool, has_settings: bool) -> str:
    """Suggest a fix for a row with too many or, if `surplus` is negative, too few cells."""
    if not has_settings:
        fix = "quote cells that hold" if quotes else "remove"
        return f"correct the row, {fix} {separator!r}, or convert the file to JSONL"
    drop = "; task.extra_cells=drop ignores the cells after the last column" if surplus > 0 else ""
    return (
        f"try task.quotes={str(not quotes).lower()}, a task.separator other than {separator!r} or, "
        f"if the file has no header, other task.columns{drop}"
    )


def _other_separator(first: list[str], separator: str, has_settings: bool) -> str:
    """Suggest a separator for a first row of one cell that may be several; "" if it is not."""
    for word, other in SEPARATOR_NAMES.items():
        if len(first) == 1 and other in first[0] and other not in (separator, " ", ","):
            how = (
                f"set task.separator={word}" if has_settings else f"put the line sep={other} first"
            )
            return f"if its cells are separated by {other!r}, {how}"
    return ""


def _unquoted_rows(
    lines: Iterator[str], separator: str, width: int | None, skipped: int
) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and cells of each row."""
    for number, line in enumerate(lines, start=skipped + 1):
        text = line.removesuffix("\n")
        if not text:
            continue
        if width is None:
            width = text.count(separator) + 1
        yield number, text.split(separator, width - 1 if separator == " " else -1)


def _quoted_rows(
    file: Path, lines: Iterator[str], separator: str, skipped: int, has_settings: bool
) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the line that each row begins on, and its cells."""
    reader = csv.reader(lines, delimiter=separator, strict=True)
    while True:
        start = skipped + reader.line_num + 1
        others = csv.field_size_limit(LARGEST_CELL)  # global to the process: restored below
        try:
            row = next(reader, None)
        except csv.Error as error:
            where = f"{file}: the row that begins in line {start} cannot be read ({error})"
            if "new-line" in str(error):
                raise UserError(f"{where}: it has a carriage return outside quotes") from error
            advice = "set task.quotes=false" if has_settings else "convert the file to JSONL"
            raise UserError(
                f"{where}: a quote is never closed, or a quoted cell contains a single quote "
                f"character; if quotes are ordinary text, {advice}"
            ) from error
        finally:
            csv.field_size_limit(others)
        if row is None:
            return
        if row:
            yield start, row
