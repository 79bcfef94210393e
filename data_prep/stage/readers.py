"""Documents of any files as batches of Arrow strings: text, JSONL and Parquet.

A text file is one document, or with `lines` one document a line. JSONL and Parquet have a
document a row, its text in `text_key`, named by `id` where there is one and else by file and the
number of its line or row, from 1.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from data_prep.reddit.dumps import BrokenDumpError, every_line
from data_prep.stage.parquet import opened
from webtext_gpt.errors import UserError
from webtext_gpt.tokenizer import read_text

PARQUET = (".parquet", ".pq")
JSON_LINES = tuple(f"{kind}{packed}" for kind in (".jsonl", ".ndjson")
                   for packed in ("", ".gz", ".zst", ".xz", ".bz2"))  # fmt: skip
PLAIN = (".txt", ".text", ".md", ".raw", ".tokens")
SUFFIXES = (*PARQUET, *JSON_LINES, *PLAIN)
ROWS_AT_ONCE = 1024
LONGEST_LINE = 1 << 30
"""Bytes of a line, which is held in memory; text8, for instance, is one line of 100 MB."""


@dataclass(frozen=True)
class Layout:
    """How documents lie in files: whether a line of a text file is one, and the text's column."""

    lines: bool = False
    text_key: str = "text"


@dataclass
class Batch:
    """Some documents of one file.

    Attributes:
        names: of each, a string array.
        texts: of each, a string array without nulls.
        rows: the rows as they stood in the file: all columns of Parquet, `line` of JSONL, and
            `id` and `text` of plain text.
        kind: of the file.
        rejected: rows that held no text, by reason.
    """

    names: pa.Array
    texts: pa.Array
    rows: pa.Table
    kind: Literal["parquet", "jsonl", "text"]
    rejected: Counter[str]


def batches(
    path: Path, layout: Layout, on_bytes: Callable[[int], None] = lambda _: None
) -> Iterator[Batch]:
    """The documents of one file in their order, some megabytes at a time.

    `on_bytes` is told how many bytes of the file were read.

    Raises:
        UserError: a file that cannot be read as what its name says, without the text's column,
            with text that is no UTF-8, or with a line over LONGEST_LINE.
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


def _batch(
    kind: Literal["parquet", "jsonl", "text"], texts: pa.Array, rows: pa.Table, names: pa.Array
) -> Batch:
    """A batch without the rows that hold no text."""
    sound = pc.fill_null(pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0), False)
    lost = len(texts) - (pc.sum(sound).as_py() or 0)
    if lost:
        texts, names, rows = (column.filter(sound) for column in (texts, names, rows))
    return Batch(names, texts, rows, kind, +Counter({"no text": lost}))


def _numbered(path: Path, numbers: Iterable[int], ids: pa.Array | None = None) -> pa.Array:
    """Names of rows: their ids, else the file and their numbers."""
    named = pa.array([f"{path.name}:{number}" for number in numbers], pa.string())
    return named if ids is None else pc.coalesce(ids.cast(pa.string()), named)


def _parquet(path: Path, key: str, on_bytes: Callable[[int], None]) -> Iterator[Batch]:
    with opened(path, needed=(key,), hint="; set text_key") as file:
        named = "id" in file.schema_arrow.names
        share = path.stat().st_size / max(file.metadata.num_rows, 1)
        first = 1
        for batch in file.iter_batches(ROWS_AT_ONCE):
            texts = batch.column(key)
            if not (pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type)):
                raise UserError(f"{path}: column {key!r} holds {texts.type}, not text")
            texts.validate(full=True)
            ids = batch.column("id") if named else None
            names = _numbered(path, range(first, first + len(batch)), ids)
            yield _batch("parquet", texts, pa.Table.from_batches([batch]), names)
            first += len(batch)
            on_bytes(round(share * len(batch)))


def _json_lines(path: Path, key: str, on_bytes: Callable[[int], None]) -> Iterator[Batch]:
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
        names = _numbered(path, (number for number, _, _ in rows), pa.array(ids, pa.string()))
        table = pa.table({"line": pa.array([line for _, _, line in rows], pa.large_binary())})
        batch = _batch("jsonl", texts, table, names)
        batch.rejected += Counter({"malformed row": bad - before})
        yield batch


def _lines(path: Path, on_bytes: Callable[[int], None]) -> Iterator[Batch]:
    for lines in _numbered_lines(path, on_bytes):
        found = []
        for number, line in lines:
            try:
                found.append(line.decode().removeprefix("\ufeff"))
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path} is not UTF-8 ({error.reason}) in line {number:,}; convert it, for "
                    "instance with iconv"
                ) from error
        texts = pa.array(found, pa.large_string())
        names = _numbered(path, (number for number, _ in lines))
        yield _batch("text", texts, pa.table({"id": names, "text": texts}), names)


def _numbered_lines(
    path: Path, on_bytes: Callable[[int], None]
) -> Iterator[list[tuple[int, bytes]]]:
    """Lists of the lines that are not empty, with their numbers in the file, from 1."""
    first = 1
    try:
        for lines in every_line(path, on_bytes, LONGEST_LINE):
            found = []
            for number, line in enumerate(lines, first):
                if line is None:
                    raise UserError(
                        f"{path}: line {number:,} has more than {LONGEST_LINE:,} bytes; divide "
                        "it, or without lines=true read the file as one document"
                    )
                if line.strip():
                    found.append((number, line))
            first += len(lines)
            yield found
    except BrokenDumpError as error:
        raise UserError(f"{path}: {error}, after {first - 1:,} lines") from error
