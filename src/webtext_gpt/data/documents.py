r"""Documents in text, JSONL and Parquet files: the one reader of training and of `data_prep`.

A text file is one document, or one document per line if `lines` is set; `\r\n` ends a line as `\n`
does. JSONL and Parquet files hold one document per row, with its text in the column `text_key`. A
row without a usable text is left out and counted: "malformed row" if it is not JSON, or its text is
not Unicode; "no text" if its text is blank, null, missing, or of another type. Faults in other
fields reject no row. A file without one usable row is refused.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from webtext_gpt.data.endings import kind_of_file
from webtext_gpt.data.json_row import decode_row, is_unicode
from webtext_gpt.data.lines import numbered_lines, whole_text
from webtext_gpt.data.rows import MissingColumnError, Row, missing_columns
from webtext_gpt.data.tally import MALFORMED, NO_TEXT, Tally
from webtext_gpt.files import CONVERT


@dataclass(frozen=True)
class Layout:
    """Layout of documents in files.

    Attributes:
        lines: whether each line of a text file is a document.
        text_key: column of JSONL and Parquet files that holds the text.
    """

    lines: bool = False
    text_key: str = "text"


@dataclass
class RowBatch:
    """Some documents of a text or JSONL file.

    Attributes:
        texts: their texts.
        numbers: numbers of their lines, from 1; none for a whole file.
        rows: the decoded rows; none for plain text.
        lines: the rows as stored; none for plain text.
        rejected: rows left out, by reason.
    """

    texts: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)


def texts_of(
    path: Path, layout: Layout, on_bytes: Callable[[int], object] = lambda _: None
) -> Iterator[tuple[list[str], Counter[str]]]:
    """Yield the texts of one file in their order, and the rows left out, by reason.

    Raises:
        UserError: see `row_batches` and `parquet.table_batches`.
    """
    if kind_of_file(path) == "parquet":
        from webtext_gpt.data.parquet import table_batches

        for table in table_batches(path, layout.text_key, on_bytes, columns=()):
            yield table.texts.to_pylist(), table.rejected
    else:
        for batch in row_batches(path, layout, on_bytes):
            yield batch.texts, batch.rejected


def row_batches(
    path: Path, layout: Layout, on_bytes: Callable[[int], object]
) -> Iterator[RowBatch]:
    """Yield the documents of a text or JSONL file in their order, a few megabytes at a time.

    Args:
        path: the file, compressed or not.
        layout: how documents are stored in it.
        on_bytes: called with the number of bytes read since its last call.

    Raises:
        UserError: the file is of another kind or damaged, has a line longer than
            `lines.LONGEST_LINE`, or has rows, but none that is usable; or a text file that is one
            document is not UTF-8.
        MissingColumnError: no row has the key.
    """
    if kind_of_file(path) == "jsonl":
        yield from _json_lines(path, layout.text_key, on_bytes)
    elif layout.lines:
        yield from _text_lines(path, on_bytes)
    else:
        batch = RowBatch()
        _add(batch, whole_text(path, on_bytes))
        yield batch


def _add(batch: RowBatch, text: str) -> bool:
    """Add a text to a batch if it is not blank; otherwise count it."""
    if not text or text.isspace():
        batch.rejected[NO_TEXT] += 1
        return False
    batch.texts.append(text)
    return True


def _text_lines(path: Path, on_bytes: Callable[[int], object]) -> Iterator[RowBatch]:
    tally = Tally(path)
    for lines in numbered_lines(path, on_bytes):
        batch = RowBatch()
        tally.rows += len(lines)
        for number, line in lines:
            try:
                text = line.decode().removesuffix("\r")
            except UnicodeDecodeError as error:
                batch.rejected[MALFORMED] += 1
                found = f"line {number:,} has byte {line[error.start]:#04x}; {CONVERT}"
                tally.fault("is UTF-8", found)
                continue
            if _add(batch, text):
                batch.numbers.append(number)
        tally.check(ended=False)
        yield batch
    tally.check(ended=True)


def _json_lines(path: Path, key: str, on_bytes: Callable[[int], object]) -> Iterator[RowBatch]:
    tally = Tally(path)
    for lines in numbered_lines(path, on_bytes):
        batch = RowBatch()
        tally.rows += len(lines)
        for number, line in lines:
            row = _decoded(line, number, tally)
            text = "" if row is None else _text_of(row, key, number, tally)
            if row is None or text is None:
                batch.rejected[MALFORMED] += 1
            elif _add(batch, text):
                batch.numbers.append(number)
                batch.rows.append(row)
                batch.lines.append(line)
        tally.check(ended=False)
        yield batch
    tally.check(ended=True)


def _decoded(line: bytes, number: int, tally: Tally) -> Row | None:
    try:
        row = decode_row(line)
    except ValueError as error:
        tally.fault("is a JSON object", f"line {number:,} is not JSON: {error}")
        return None
    except RecursionError:
        tally.fault("is a JSON object", f"line {number:,} is nested too deeply to read")
        return None
    if isinstance(row, dict):
        return row
    tally.fault("is a JSON object", f"line {number:,} is {type(row).__name__}")
    return None


def _text_of(row: Row, key: str, number: int, tally: Tally) -> str | None:
    """Return the text of a row, "" if it has none; None if it is not Unicode."""
    text = row.get(key)
    if isinstance(text, str):
        if is_unicode(text):
            return text
        tally.fault("is Unicode", f"line {number:,}: {key!r} has half of a surrogate pair")
        return None
    if key not in row:
        missing = missing_columns(f"line {number:,}", [key], list(row), "key")
        tally.fault(f"has a key {key!r}", str(missing), MissingColumnError)
    elif text is not None:
        found = f"line {number:,}: {key!r} is {type(text).__name__}, not text"
        tally.fault(f"has text in {key!r}", found)
    return ""
