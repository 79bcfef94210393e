"""A trial corpus: a given number of links or documents, chosen by a hash of their ids."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from data_prep.stage.inputs import find_inputs
from data_prep.stage.ledger import Ledger
from data_prep.stage.manifest import Manifest, source_manifests
from data_prep.stage.readers import PARQUET, SUFFIXES, Layout, batches, open_parquet
from webtext_gpt.errors import UserError
from webtext_gpt.files import replaced

LIMIT = "limit"
"""Name of the stage, and of its folder in a build."""


def take(inputs: Sequence[str], out: str | Path, limit: int, layout: Layout) -> Manifest:
    """Write the `limit` rows whose ids have the smallest hashes to `out`.

    The choice depends on the ids alone, and a smaller limit takes a subset of a larger one. Rows
    whose hash equals the last one's are all taken.

    Args:
        inputs: Files, folders or globs. A Parquet file without the text column holds links, and
            its rows are written unchanged. Any other file is read as documents.
        out: Folder to create.
        limit: Number of rows, at least 1.
        layout: Layout of the documents in the files.

    Returns:
        The manifest.

    Raises:
        UserError: A file cannot be read, or `out` holds other files.
    """
    started = time.monotonic()
    files = find_inputs(inputs, SUFFIXES)
    config = {"limit": limit, "lines": layout.lines, "text_key": layout.text_key}
    sources = source_manifests(file.path for file in files)
    with Ledger(out, LIMIT, config, files, sources=sources, started=started) as ledger:
        if not ledger.finished:
            rejected: Counter[str] = Counter()
            ranks = [_ranks(t) for file in files for t in _tables(file.path, layout, rejected)]
            every = np.sort(np.concatenate([np.empty(0, np.uint64), *ranks]))
            highest = every[min(limit, len(every)) - 1] if len(every) else np.uint64(0)
            rows = sum(
                _write(file.path, layout, ledger.out / f"{LIMIT}-{file.hash}.parquet", highest)
                for file in files
            )
            total = len(every) + rejected.total()
            rejected["over the limit"] = len(every) - rows
            ledger.finish(rows_in=total, rows_out=rows, rejected=rejected)
        return ledger.manifest


def _write(path: Path, layout: Layout, target: Path, highest: np.uint64) -> int:
    """Write the rows of one file whose rank is at most `highest`; return their number."""
    if not any((_ranks(table) <= highest).any() for table in _tables(path, layout, Counter())):
        return 0  # files without rows would be equal, and the next stage refuses equal inputs
    rows = 0
    with replaced(target) as partial, ExitStack() as stack:
        writer = None
        for table in _tables(path, layout, Counter()):
            kept = table.filter(pa.array(_ranks(table) <= highest))
            writer = writer or stack.enter_context(
                pq.ParquetWriter(partial, table.schema, compression="zstd")
            )
            writer.write_table(kept)
            rows += kept.num_rows
    return rows


def _ranks(table: pa.Table) -> npt.NDArray[np.uint64]:
    """Hash the ids of a table, (N,)."""
    ids = table["id"].to_pylist()
    return np.array([xxhash.xxh3_64_intdigest(str(i).encode()) for i in ids], np.uint64)


def _tables(path: Path, layout: Layout, rejected: Counter[str]) -> Iterator[pa.Table]:
    """Yield the rows of one file; count rows without text in `rejected`."""
    if path.name.endswith(PARQUET):
        with open_parquet(path) as file:
            names = file.schema_arrow.names
            if layout.text_key not in names:
                if "id" not in names:
                    raise UserError(f"{path}: neither {layout.text_key!r} nor 'id' among {names}")
                for batch in file.iter_batches(8192):
                    yield pa.Table.from_batches([batch])
                return
    for found in batches(path, layout):
        rejected.update(found.rejected)
        rows = found.rows
        if found.kind == "jsonl" or "id" not in rows.column_names:
            rows = pa.table({"id": found.ids, layout.text_key: found.texts})
        yield rows
