"""Documents in text, JSONL and Parquet files, read as batches of Arrow strings.

The reader is `webtext_gpt.data.documents`, which training shares. A document's id is that of its
row, else a hash of its text, never a position: the same text without an id is the same document.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from webtext_gpt.data.documents import Layout, RowBatch, row_batches
from webtext_gpt.data.endings import PARQUET, SUFFIXES, FileKind, kind_of_file
from webtext_gpt.data.parquet import TableBatch, as_text, open_parquet, table_batches
from webtext_gpt.data.rows import MissingColumnError, Row
from webtext_gpt.errors import UserError

__all__ = ["PARQUET", "SUFFIXES", "Layout", "TextBatch", "batches", "open_parquet"]


@dataclass
class TextBatch:
    """Some documents of one file.

    Attributes:
        texts: Their texts, a string array without nulls or blank texts.
        kind: Kind of the file.
        rejected: Rows without a usable text, by reason. They are not in the arrays here.
    """

    texts: pa.Array
    kind: FileKind
    rejected: Counter[str]
    _rows: pa.Table | None
    _given: pa.Array | None  # ids of the rows, null where a row has none
    _file: str
    _numbers: list[int]

    @cached_property
    def ids(self) -> pa.Array:
        """Ids of the documents, strings: that of the row, else a hash of the text."""
        if self._given is not None and not self._given.null_count:
            return self._given
        hashes = pa.array([content_id(text) for text in self.texts.to_pylist()], pa.string())
        return hashes if self._given is None else pc.coalesce(self._given, hashes)

    @cached_property
    def names(self) -> pa.Array:
        """Names of the documents for people: the id of the row, else the file and its line."""
        if not self._numbers and len(self.texts):
            return pa.array([self._file], pa.string())
        places = pa.array([f"{self._file}:{number}" for number in self._numbers], pa.string())
        return places if self._given is None else pc.coalesce(self._given, places)

    @cached_property
    def rows(self) -> pa.Table:
        """Columns that were asked for, as text; else the rows as stored in the file.

        These are all columns of Parquet, `line` of JSONL, `id` and `text` of plain text.
        """
        if self._rows is not None:
            return self._rows
        return pa.table({"id": self.ids, "text": self.texts})


def content_id(text: str) -> str:
    """Return the id of a document whose row has none: XXH3, 128 bits, in hexadecimal."""
    return xxhash.xxh3_128_hexdigest(text.encode())


def batches(
    path: Path,
    layout: Layout,
    on_bytes: Callable[[int], object] = lambda _: None,
    columns: Sequence[str] | None = None,
    advice: str = "; set text_key",
) -> Iterator[TextBatch]:
    """Yield the documents of one file in their order, a few megabytes at a time.

    Args:
        path: The file.
        layout: Layout of the documents in it.
        on_bytes: Called with the number of bytes read since its last call.
        columns: Columns to give as text in `rows`, null where there is none. None gives the rows
            as they are stored.
        advice: End of the message about a missing text column: what to do.

    Raises:
        UserError: See `webtext_gpt.data.documents.row_batches` and
            `webtext_gpt.data.parquet.table_batches`.
    """
    try:
        if kind_of_file(path) == "parquet":
            for table in table_batches(path, layout.text_key, on_bytes, columns):
                yield _of_table(path, table, columns)
        else:
            for batch in row_batches(path, layout, on_bytes):
                yield _of_rows(path, batch, columns)
    except MissingColumnError as error:
        raise UserError(f"{error}{advice}") from error


def _of_table(path: Path, found: TableBatch, columns: Sequence[str] | None) -> TextBatch:
    rows = found.rows
    if columns is not None:
        rows = pa.table({name: _column(rows, name) for name in columns})
    return TextBatch(
        found.texts, "parquet", found.rejected, rows, found.ids, path.name, found.numbers
    )


def _column(rows: pa.Table, name: str) -> pa.ChunkedArray:
    if name not in rows.column_names:
        return pa.chunked_array([pa.nulls(rows.num_rows, pa.string())])
    return pa.chunked_array([as_text(chunk) for chunk in rows[name].chunks], pa.string())


def _of_rows(path: Path, found: RowBatch, columns: Sequence[str] | None) -> TextBatch:
    kind = kind_of_file(path)
    rows, ids = None, None
    if kind == "jsonl":
        ids = pa.array([_id(row) for row in found.rows], pa.string())
        rows = pa.table({"line": pa.array(found.lines, pa.large_binary())})
    if columns is not None:
        length = len(found.texts)
        of_name = {name: [_text(row.get(name)) for row in found.rows] for name in columns}
        rows = pa.table({
            name: pa.array(of_name[name] or [None] * length, pa.string()) for name in columns
        })  # fmt: skip
    texts = pa.array(found.texts, pa.large_string())
    return TextBatch(texts, kind, found.rejected, rows, ids, path.name, found.numbers)


def _id(row: Row) -> str | None:
    """Return the id of a JSON row; None for values that identify nothing: null, NaN, "", lists."""
    value = row.get("id")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, float) and not isfinite(value):
        return None
    return _text(value) or None


def _text(value: object) -> str | None:
    """Return a JSON value as text that can be encoded."""
    if value is None:
        return None
    text = value if isinstance(value, str) else str(value)
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode(
        "utf-16", "replace"
    )  # fmt: skip
