"""Copy of a training file without the documents over the threshold."""

from contextlib import ExitStack
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.ngrams.arrays import Flags
from data_prep.stage.readers import TextBatch
from webtext_gpt.files import replaced


class Remainder:
    """Writer of the documents of one file that are under the threshold.

    Rows are written as they are in the file; plain text becomes columns `id` and `text`. Use it as
    a context manager: `out/documents-NAME.parquet` or `.jsonl` appears when the block ends. If no
    document stays, there is no file, because several files without rows would be refused later as
    one input given twice.
    """

    def __init__(self, out: Path, name: str) -> None:
        self._out, self._name = out, name
        self._stack = ExitStack()
        self._lines: IO[bytes] | None = None
        self._table: pq.ParquetWriter | None = None

    def __enter__(self) -> "Remainder":
        self._stack.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)  # type: ignore[arg-type]

    def keep(self, batch: TextBatch, stays: Flags) -> None:
        """Write the documents of a batch for which `stays` is true."""
        rows = batch.rows.filter(pa.array(stays))
        if not rows.num_rows:
            return
        if batch.kind == "jsonl":
            if self._lines is None:
                self._lines = self._stack.enter_context(self._file("jsonl").open("wb"))
            self._lines.writelines(line + b"\n" for line in rows["line"].to_pylist())
        else:
            if self._table is None:
                self._table = self._stack.enter_context(
                    pq.ParquetWriter(self._file("parquet"), rows.schema, compression="zstd")
                )
            self._table.write_table(rows)

    def _file(self, suffix: str) -> Path:
        path = self._out / f"documents-{self._name}.{suffix}"
        return self._stack.enter_context(replaced(path))
