"""Parquet files of strangers, opened so that what is wrong with one is said in one way."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from webtext_gpt.errors import UserError


@contextlib.contextmanager
def opened(path: Path, needed: Sequence[str] = (), hint: str = "") -> Iterator[pq.ParquetFile]:
    """A Parquet file; what Arrow raises inside the `with` is taken for damage to it.

    Args:
        path: of the file.
        needed: columns that it must have.
        hint: what to do about a missing one.

    Raises:
        UserError: it cannot be read, or lacks a column.
    """
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            for name in needed:
                if name not in names:
                    raise UserError(f"{path}: no column {name!r} among {', '.join(names)}{hint}")
            yield file
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise UserError(f"{path}: no Parquet that can be read: {error}") from error
