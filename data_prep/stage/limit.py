"""A trial: so many rows of links or documents, chosen by their content."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from data_prep.stage import ledger
from data_prep.stage.parquet import opened
from data_prep.stage.readers import PARQUET, SUFFIXES, Layout, batches
from webtext_gpt.errors import UserError

KIND = "limit"


def take(inputs: Sequence[str], out: str | Path, limit: int, layout: Layout) -> dict[str, Any]:
    """Make `out` of the `limit` rows of some files whose ids have the smallest hashes.

    A Parquet file without the column of text (links) is taken by its rows' `id`, any other file
    by its documents. Returns the manifest.

    Raises:
        UserError: files that cannot be read; `out` that holds something else.
    """
    watch = ledger.Stopwatch()
    paths = ledger.expand(inputs, SUFFIXES)
    prints = {path: ledger.fingerprint(path) for path in paths}
    config = {"limit": limit, "lines": layout.lines, "text_key": layout.text_key}
    with ledger.Ledger(
        Path(out), KIND, config, list(prints.values()), sources=ledger.sources(paths)
    ) as book:
        if book.manifest is None:
            rejected: Counter[str] = Counter()
            ranks = [_ranks(t) for path in paths for t in _tables(path, layout, rejected)]
            every = np.sort(np.concatenate([np.empty(0, np.uint64), *ranks]))
            highest = every[min(limit, len(every)) - 1] if len(every) else np.uint64(0)
            rows = 0
            for path in paths:
                rows += _write(path, layout, book.out / f"{KIND}-{prints[path]['xxh3']}.parquet",
                               highest)  # fmt: skip
            total = len(every) + rejected.total()
            rejected += Counter({"over the limit": len(every) - rows})
            book.finish(rows_in=total, rows_out=rows, rejected=rejected, seconds=watch.seconds)
        assert book.manifest is not None  # noqa: S101 - for the type checker
        return book.manifest


def _write(path: Path, layout: Layout, target: Path, highest: np.uint64) -> int:
    """Write the rows of one file whose rank is no higher; how many."""
    if not any((_ranks(table) <= highest).any() for table in _tables(path, layout, Counter())):
        return 0  # several files without a row would be one input given twice
    rows = 0
    with ledger.aside(target) as temporary, ExitStack() as stack:
        writer = None
        for table in _tables(path, layout, Counter()):
            kept = table.filter(pa.array(_ranks(table) <= highest))
            writer = writer or stack.enter_context(
                pq.ParquetWriter(temporary, table.schema, compression="zstd")
            )
            writer.write_table(kept)
            rows += kept.num_rows
    return rows


def _ranks(table: pa.Table) -> np.ndarray:
    ids = table["id"].to_pylist()
    return np.array([xxhash.xxh3_64_intdigest(str(i).encode()) for i in ids], np.uint64)


def _tables(path: Path, layout: Layout, rejected: Counter[str]) -> Iterator[pa.Table]:
    if path.name.endswith(PARQUET):
        with opened(path) as file:
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
            rows = pa.table({"id": found.names, layout.text_key: found.texts})
        yield rows
