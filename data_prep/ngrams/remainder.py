"""A training file without the documents that hold too much of a test set."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.stage.readers import TextBatch


class Remainder:
    """The documents of one file that stay: its own rows, or `id` and `text` of plain text.

    Use as a context manager: `out/documents-NAME.parquet`, or `.jsonl`, appears at its end, where
    any stays.
    """

    def __init__(self, out: Path, name: str) -> None:
        self._out, self._name = out, name
        self._writer: Any = None
        self._file: Path | None = None

    def __enter__(self) -> "Remainder":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()
        if self._file is not None and not kind:
            self._temporary.replace(self._file)

    @property
    def _temporary(self) -> Path:
        assert self._file is not None  # noqa: S101 - for the type checker
        return self._file.with_name(f".{self._file.name}.tmp")

    def keep(self, batch: TextBatch, stays: np.ndarray) -> None:
        """Write the documents of a batch of which `stays` is true."""
        rows, lines = batch.rows.filter(pa.array(stays)), batch.kind == "jsonl"
        if not rows.num_rows:
            return  # a file without a document would be an input that holds nothing
        if self._writer is None:
            suffix = "jsonl" if lines else "parquet"
            self._file = self._out / f"documents-{self._name}.{suffix}"
            self._writer = (
                self._temporary.open("wb") if lines
                else pq.ParquetWriter(self._temporary, rows.schema, compression="zstd")
            )  # fmt: skip
        if lines:
            self._writer.writelines(line + b"\n" for line in rows["line"].to_pylist())
        else:
            self._writer.write_table(rows)
