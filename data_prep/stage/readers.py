"""Documents in text, JSONL and Parquet files, read as batches of Arrow strings.

A text file is one document, or one document per line if `lines` is set. JSONL and Parquet files
hold one document per row, with its text in the column `text_key`. A document is named by `id`
if its row has one, otherwise by the file and the number of the line or row, from 1.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_prep.reddit.dumps import BrokenDumpError, every_line
from webtext_gpt.errors import UserError
from webtext_gpt.files import read_text
from webtext_gpt.signatures import head_of, other_kind

PARQUET = (".parquet", ".pq")
JSON_LINES = tuple(f"{kind}{packed}" for kind in (".jsonl", ".ndjson")
                   for packed in ("", ".gz", ".zst", ".xz", ".bz2"))  # fmt: skip
PLAIN = (".txt", ".text", ".md", ".raw", ".tokens")
SUFFIXES = (*PARQUET, *JSON_LINES, *PLAIN)
ROWS_AT_ONCE = 1024
LONGEST_LINE = 1 << 30
"""Longest line in bytes. A line is held in memory; text8, for example, is one line of 100 MB."""


@dataclass(frozen=True)
class Layout:
    """Layout of documents in files.

    Attributes:
        lines: Whether each line of a text file is a document.
        text_key: Column of JSONL and Parquet files that holds the text.
    """

    lines: bool = False
    text_key: str = "text"


Kind = Literal["parquet", "jsonl", "text"]


@dataclass
class TextBatch:
    """Some documents of one file.

    Attributes:
        names: Names of the documents, a string array.
        texts: Their texts, a string array without nulls.
        rows: The rows as stored in the file: all columns of Parquet, `line` of JSONL, `id` and
            `text` of plain text.
        kind: Kind of the file.
        rejected: Rows without a usable text, by reason. They are not in the arrays above.
    """

    names: pa.Array
    texts: pa.Array
    rows: pa.Table
    kind: Kind
    rejected: Counter[str]


def batches(
    path: Path, layout: Layout, on_bytes: Callable[[int], object] = lambda _: None
) -> Iterator[TextBatch]:
    """Yield the documents of one file in their order, a few megabytes at a time.

    `on_bytes` is called with the number of bytes read since its last call.

    Raises:
        UserError: The file does not hold what its suffix says, lacks the text column, is not
            UTF-8, or has a line longer than LONGEST_LINE.
    """
    if path.name.endswith(PARQUET):
        yield from _parquet(path, layout.text_key, on_bytes)
    elif path.name.endswith(JSON_LINES):
        yield from _json_lines(path, layout.text_key, on_bytes)
    elif layout.lines:
        yield from _lines(path, on_bytes)
    else:
        text = pa.array([read_text(path)], pa.large_string())
        on_bytes(path.stat().st_size)
        name = pa.array([path.name])
        yield _batch("text", text, pa.table({"id": name, "text": text}), name)


@contextmanager
def open_parquet(
    path: Path, needed: Sequence[str] = (), hint: str = ""
) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file. An error of Arrow inside the block is reported as damage to it.

    Args:
        path: The file.
        needed: Columns that it must have.
        hint: What to do about a missing column; ends the message.

    Raises:
        UserError: The file cannot be read, or lacks a column.
    """
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            for name in needed:
                if name not in names:
                    raise UserError(f"{path}: no column {name!r} among {', '.join(names)}{hint}")
            yield file
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        known = other_kind(path, head_of(path), "Parquet") if path.is_file() else None
        raise UserError(known or f"{path}: not a readable Parquet file: {error}") from error


def _batch(kind: Kind, texts: pa.Array, rows: pa.Table, names: pa.Array) -> TextBatch:
    """Make a batch; rows whose text is null or blank are counted as rejected."""
    sound = pc.fill_null(pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0), False)
    lost = len(texts) - (pc.sum(sound).as_py() or 0)
    if lost:
        texts, names, rows = (column.filter(sound) for column in (texts, names, rows))
    return TextBatch(names, texts, rows, kind, +Counter({"no text": lost}))


def _names(path: Path, numbers: Iterable[int], ids: pa.Array | None = None) -> pa.Array:
    """Name rows by their ids, or by file and number where the id is null or absent."""
    numbered = pa.array([f"{path.name}:{number}" for number in numbers], pa.string())
    return numbered if ids is None else pc.coalesce(ids.cast(pa.string()), numbered)


def _parquet(path: Path, key: str, on_bytes: Callable[[int], object]) -> Iterator[TextBatch]:
    with open_parquet(path, needed=(key,), hint="; set text_key") as file:
        named = "id" in file.schema_arrow.names
        share = path.stat().st_size / max(file.metadata.num_rows, 1)
        first = 1
        for batch in file.iter_batches(ROWS_AT_ONCE):
            texts = batch.column(key)
            if not (pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type)):
                raise UserError(f"{path}: column {key!r} holds {texts.type}, not text")
            texts.validate(full=True)
            ids = batch.column("id") if named else None
            names = _names(path, range(first, first + len(batch)), ids)
            yield _batch("parquet", texts, pa.Table.from_batches([batch]), names)
            first += len(batch)
            on_bytes(round(share * len(batch)))


def _json_lines(path: Path, key: str, on_bytes: Callable[[int], object]) -> Iterator[TextBatch]:
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    read = bad = keyless = 0
    for lines in _numbered_lines(path, on_bytes):
        rows, before = [], bad
        for number, line in lines:
            try:
                row = decode(line)
            except msgspec.DecodeError:
                bad += 1
                continue
            keyless += key not in row
            rows.append((number, row, line))
        read += len(lines)
        if read and bad + keyless == read:
            what = "is a JSON object" if bad else f"has a key {key!r}; set text_key"
            raise UserError(f"{path}: none of the first {read:,} rows {what}")
        found = [row.get(key) for _, row, _ in rows]
        texts = pa.array([t if isinstance(t, str) else None for t in found], pa.large_string())
        ids = [None if row.get("id") is None else str(row["id"]) for _, row, _ in rows]
        names = _names(path, (number for number, _, _ in rows), pa.array(ids, pa.string()))
        table = pa.table({"line": pa.array([line for _, _, line in rows], pa.large_binary())})
        batch = _batch("jsonl", texts, table, names)
        batch.rejected += Counter({"malformed row": bad - before})
        yield batch


def _lines(path: Path, on_bytes: Callable[[int], object]) -> Iterator[TextBatch]:
    for lines in _numbered_lines(path, on_bytes):
        found = []
        for number, line in lines:
            try:
                found.append(line.decode().removeprefix("\ufeff"))
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path} is not UTF-8 ({error.reason}) in line {number:,}; convert it, for "
                    "example with iconv"
                ) from error
        texts = pa.array(found, pa.large_string())
        names = _names(path, (number for number, _ in lines))
        yield _batch("text", texts, pa.table({"id": names, "text": texts}), names)


def _numbered_lines(
    path: Path, on_bytes: Callable[[int], object]
) -> Iterator[list[tuple[int, bytes]]]:
    """Yield lists of non-blank lines with their numbers in the file, from 1."""
    first = 1
    try:
        for lines in every_line(path, on_bytes, LONGEST_LINE):
            found = []
            for number, line in enumerate(lines, first):
                if line is None:
                    raise UserError(
                        f"{path}: line {number:,} has more than {LONGEST_LINE:,} bytes; split "
                        "it, or read the file as one document (lines=false)"
                    )
                if line.strip():
                    found.append((number, line))
            first += len(lines)
            yield found
    except BrokenDumpError as error:
        raise UserError(f"{path}: {error}, after {first - 1:,} lines") from error
