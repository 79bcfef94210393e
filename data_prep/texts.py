"""Documents of any files as batches of Arrow strings: text, JSONL and Parquet.

A text file is one document, or with `lines` one document a line. JSONL and Parquet have a
document a row, its text in `text_key`, named by `id` where there is one and else by file and row.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_prep.dumps import BrokenDumpError, line_batches
from webtext_gpt.errors import UserError
from webtext_gpt.tokenizer import read_text

PARQUET = (".parquet", ".pq")
JSON_LINES = tuple(f"{kind}{packed}" for kind in (".jsonl", ".ndjson")
                   for packed in ("", ".gz", ".zst", ".xz", ".bz2"))  # fmt: skip
PLAIN = (".txt", ".text", ".md", ".raw", ".tokens")
SUFFIXES = (*PARQUET, *JSON_LINES, *PLAIN)
BATCH_CHARACTERS = 4 << 20
ROWS_AT_ONCE = 1024


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
        rows: the rows as they stood in the file, where it is Parquet or JSONL.
        rejected: rows that held no text, by reason.
    """

    names: pa.Array
    texts: pa.Array
    rows: pa.Table | None
    rejected: Counter[str]


def batches(
    path: Path, layout: Layout, on_bytes: Callable[[int], None] = lambda _: None
) -> Iterator[Batch]:
    """The documents of one file in their order, some megabytes at a time.

    `on_bytes` is told how many bytes of the file were read.

    Raises:
        UserError: a file that cannot be read as what its name says, without the text's column,
            or with text that is no UTF-8.
    """
    if path.name.endswith(PARQUET):
        yield from _parquet(path, layout.text_key, on_bytes)
    elif path.name.endswith(JSON_LINES):
        yield from _json_lines(path, layout.text_key, on_bytes)
    elif layout.lines:
        yield from _lines(path, on_bytes)
    else:
        text = read_text(path)
        on_bytes(path.stat().st_size)
        yield _batch(path, 0, pa.array([text]), None, pa.array([path.name]))


def _batch(
    path: Path, first: int, texts: pa.Array, rows: pa.Table | None, names: pa.Array | None
) -> Batch:
    """A batch without the rows that hold no text, numbered from `first` where they are nameless."""
    numbers = pa.array(range(first, first + len(texts))).cast(pa.string())
    numbered = pc.binary_join_element_wise(path.name, numbers, ":")
    names = numbered if names is None else pc.coalesce(names.cast(pa.string()), numbered)
    sound = pc.fill_null(pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0), False)
    lost = len(texts) - (pc.sum(sound).as_py() or 0)
    rejected = Counter({"no text": lost}) if lost else Counter[str]()
    if lost:
        texts, names = texts.filter(sound), names.filter(sound)
        rows = None if rows is None else rows.filter(sound)
    return Batch(names, texts, rows, rejected)


def _parquet(path: Path, key: str, on_bytes: Callable[[int], None]) -> Iterator[Batch]:
    try:
        file = pq.ParquetFile(path)
        if key not in (found := file.schema_arrow.names):
            raise UserError(f"{path}: no column {key!r} among {', '.join(found)}; set text_key")
        share = path.stat().st_size / max(file.metadata.num_rows, 1)
        first = 0
        for batch in file.iter_batches(ROWS_AT_ONCE):
            texts = batch.column(key)
            if not (pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type)):
                raise UserError(f"{path}: column {key!r} holds {texts.type}, not text")
            texts.validate(full=True)
            rows = pa.Table.from_batches([batch])
            names = batch.column("id") if "id" in found else None
            yield _batch(path, first, texts, rows, names)
            first += len(batch)
            on_bytes(round(share * len(batch)))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise UserError(f"{path}: no Parquet that can be read: {error}") from error


def _json_lines(path: Path, key: str, on_bytes: Callable[[int], None]) -> Iterator[Batch]:
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    first = bad = keyless = 0
    try:
        for lines in line_batches(path, on_bytes):
            rows, before = [], bad
            for line in lines:
                try:
                    row = decode(line)
                except msgspec.DecodeError:
                    bad += 1
                    continue
                keyless += key not in row
                rows.append((row, line))
            if bad + keyless == (read := first + len(lines)):
                what = "is a JSON object" if bad else f"has a key {key!r}; set text_key"
                raise UserError(f"{path}: none of the first {read:,} rows {what}")
            found = [row.get(key) for row, _ in rows]
            texts = pa.array([t if isinstance(t, str) else None for t in found], pa.string())
            ids = [None if row.get("id") is None else str(row["id"]) for row, _ in rows]
            table = pa.table({"line": pa.array([line for _, line in rows], pa.binary())})
            batch = _batch(path, first, texts, table, pa.array(ids, pa.string()))
            if bad > before:
                batch.rejected["malformed row"] = bad - before
            first += len(lines)
            yield batch
    except BrokenDumpError as error:
        raise UserError(f"{path}: {error}, after {first:,} rows") from error


def _lines(path: Path, on_bytes: Callable[[int], None]) -> Iterator[Batch]:
    first = 0
    try:
        for lines in line_batches(path, on_bytes):
            texts = [line.decode().removeprefix("\ufeff") for line in lines]
            yield _batch(path, first, pa.array(texts, pa.string()), None, None)
            first += len(lines)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 ({error.reason}) in the lines after the first {first:,}; "
            "convert it, for instance with iconv"
        ) from error
    except BrokenDumpError as error:
        raise UserError(f"{path}: {error}, after {first:,} lines") from error
