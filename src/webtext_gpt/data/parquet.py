"""Documents in Parquet files, read as batches of Arrow arrays."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from webtext_gpt.data.rows import MissingColumnError
from webtext_gpt.data.tally import MALFORMED, NO_TEXT, Tally
from webtext_gpt.errors import UserError
from webtext_gpt.signatures import head_of, other_kind

ROWS_AT_ONCE = 1024
DAMAGE = (pa.ArrowException, OSError, UnicodeDecodeError)
"""Errors that Arrow raises on a damaged file; the last one, on text that is not UTF-8."""


@dataclass
class TableBatch:
    """Some rows that have a text.

    Attributes:
        texts: their texts, a string or large string array without nulls.
        ids: the column `id` as text, null where a row has none; None if there is no such column.
        numbers: their numbers in the file, from 1.
        rows: the rows as stored, of the columns that were asked for.
        rejected: the rows left out, by reason.
    """

    texts: pa.Array
    ids: pa.Array | None
    numbers: list[int]
    rows: pa.Table
    rejected: Counter[str]


@contextmanager
def open_parquet(
    path: Path, needed: Sequence[str] = (), hint: str = ""
) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file. An error of Arrow inside the block is reported as damage to it.

    Args:
        path: the file.
        needed: columns that it must have.
        hint: what to do about a missing column; ends the message.

    Raises:
        UserError: the file cannot be read.
        MissingColumnError: it lacks a column.
    """
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            for name in needed:
                if name not in names:
                    raise MissingColumnError(
                        f"{path}: no column {name!r} among {', '.join(names)}{hint}"
                    )
                _refuse_twins(path, names, name)
            yield file
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:  # missing or unreadable
            raise
        known = other_kind(path, head_of(path), "Parquet")
        raise UserError(known or f"{path}: not a readable Parquet file: {error}") from error


def table_batches(
    path: Path, key: str, on_bytes: Callable[[int], object], columns: Sequence[str] | None = None
) -> Iterator[TableBatch]:
    """Yield the documents of a Parquet file in their order.

    Args:
        path: the file.
        key: the column that holds the text.
        on_bytes: called with the number of bytes read since its last call.
        columns: other columns to read besides `id`, of those that the file has; None means all.

    Raises:
        UserError: the file cannot be read, or the column is missing, not of text, or UTF-8 in no
            row.
    """
    with open_parquet(path, needed=(key,)) as file:
        names = file.schema_arrow.names
        wanted = None
        if columns is not None:
            wanted = [name for name in dict.fromkeys((key, "id", *columns)) if name in names]
        for name in ("id", *(columns or ())):
            _refuse_twins(path, names, name)
        share = path.stat().st_size / max(file.metadata.num_rows, 1)
        tally = Tally(path)
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=wanted):
            numbers = range(tally.rows + 1, tally.rows + len(batch) + 1)
            tally.rows += len(batch)
            found = _batch(path, key, batch, numbers, tally)
            tally.check(ended=False)
            yield found
            on_bytes(round(share * len(batch)))
        tally.check(ended=True)


def _refuse_twins(path: Path, names: list[str], name: str) -> None:
    if names.count(name) > 1:
        raise UserError(f"{path}: {names.count(name)} columns are called {name!r}; rename them")


def _batch(path: Path, key: str, batch: pa.RecordBatch, numbers: range, tally: Tally) -> TableBatch:
    rows = _without_views(pa.Table.from_batches([batch]))
    texts, bad = _unicode(path, key, batch.column(key))
    for at in bad:
        tally.fault("is UTF-8", f"row {numbers[at]:,} of column {key!r} is not")
    ids = _ids(batch.column("id")) if "id" in batch.schema.names else None
    kept = pa.array(numbers, pa.int64())
    length = pc.utf8_length(pc.utf8_trim_whitespace(texts))
    sound = pc.fill_null(pc.greater(length, 0), False)
    lost = len(texts) - (pc.sum(sound).as_py() or 0)
    if lost:
        texts, rows, kept = (column.filter(sound) for column in (texts, rows, kept))
        ids = None if ids is None else ids.filter(sound)
    rejected = Counter({MALFORMED: len(bad), NO_TEXT: lost - len(bad)})
    return TableBatch(texts, ids, kept.to_pylist(), rows, +rejected)


def _without_views(rows: pa.Table) -> pa.Table:
    """Return rows with views as large strings, also in lists, since Arrow cannot filter views."""
    for at, field in enumerate(rows.schema):
        if "_view" in str(field.type):
            kind = _without_view(field.type)
            rows = rows.set_column(at, field.name, rows.column(at).cast(kind))
    return rows


def _without_view(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary_view(kind):
        return pa.large_binary()
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_without_view(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(_without_view(kind.key_type), _without_view(kind.item_type))
    return _list_without_view(kind)


def _list_without_view(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(_without_view(kind.value_type))
    if pa.types.is_large_list(kind):
        return pa.large_list(_without_view(kind.value_type))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_without_view(kind.value_type), kind.list_size)
    return kind


def _unicode(path: Path, key: str, column: pa.Array) -> tuple[pa.Array, list[int]]:
    """Return a column as strings, and the rows that are not UTF-8, which become null."""
    column = _flat(column)
    kind = column.type
    if pa.types.is_null(kind):
        return column.cast(pa.string()), []
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        if not _is_textual(kind):
            raise UserError(f"{path}: column {key!r} holds {kind}, not text")
        column = column.cast(pa.large_binary())
        column = column.cast(pa.large_string(), safe=False)  # bytes are checked below
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        values = column.cast(pa.large_binary()).to_pylist()
        texts = [None if value is None else _decoded(value) for value in values]
        pairs = zip(values, texts, strict=True)
        bad = [at for at, (value, text) in enumerate(pairs) if value is not None and text is None]
        return pa.array(texts, pa.large_string()), bad
    return column, []


def _decoded(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _flat(column: pa.Array) -> pa.Array:
    """Return a column with its dictionary, if it has one, resolved."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _is_textual(kind: pa.DataType) -> bool:
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view,
             pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)  # fmt: skip
    return any(test(kind) for test in tests)


def _ids(column: pa.Array) -> pa.Array:
    """Return ids as text; null for values that identify nothing: null, NaN, "", lists, ..."""
    column = _flat(column)
    if pa.types.is_nested(column.type) or pa.types.is_boolean(column.type):
        return pa.nulls(len(column), pa.string())
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_finite(column), column, None)
    texts = as_text(column)
    return pc.if_else(pc.equal(texts, ""), None, texts)


def as_text(column: pa.Array) -> pa.Array:
    """Return a column as strings, with U+FFFD for bytes that are not UTF-8.

    U+FFFD also stands for a nested value with such bytes, or a time beyond those of Python.
    """
    column = _flat(column)
    try:
        if not pa.types.is_nested(column.type):
            texts = column.cast(pa.string())
            texts.validate(full=True)
            return texts
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        pass
    return pa.array([_text(value) for value in column.cast(_raw(column.type))], pa.string())


def _raw(kind: pa.DataType) -> pa.DataType:
    return pa.large_binary() if _is_textual(kind) else kind


def _text(stored: pa.Scalar) -> str | None:
    try:
        value = stored.as_py()
    except (ValueError, OverflowError, pa.ArrowException):  # UnicodeDecodeError is a ValueError
        return "\N{REPLACEMENT CHARACTER}"
    if value is None:
        return None
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
