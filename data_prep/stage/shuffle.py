"""External sort of documents by a hash of their id, in bounded memory.

The order depends on the content alone, not on files or their order. Each input is cut into runs
that are sorted by slot, the first 32 bits of the hash, and written in small row groups. A part of
the result is a range of slots, read from all runs and sorted by id.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypedDict

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import xxhash

from data_prep.stage.readers import Layout, batches

RUN_CHARACTERS = 64 << 20  # characters of text in a run, which is held in memory and sorted
ROW_GROUP = 1024
SLOT = "slot of the id"  # unlikely to be the name of a carried column
# Texts do not repeat, so dictionaries would only cost time. Statistics let a reader skip slots.
SCRATCH: dict[str, Any] = {
    "compression": "lz4", "use_dictionary": False, "write_statistics": [SLOT],
}  # fmt: skip
SLOTS = 1 << 32


class RunRecord(TypedDict):
    """Counts of one file: rows read, characters of text kept, rejected rows by reason."""

    rows: int
    characters: int
    rejected: dict[str, int]


def schema_of(carried: Sequence[str]) -> pa.Schema:
    """Return the schema of a run: `SLOT`, `id`, `text` and the carried columns."""
    names = ["id", "text", *carried]
    return pa.schema([(SLOT, pa.uint32()), *((name, pa.string()) for name in names)])


def write_runs(
    path: Path, target: Path, carried: Sequence[str], on_bytes: Callable[[int], object]
) -> RunRecord:
    """Write the documents of one file to `target` in sorted runs, and count them.

    Args:
        path: Parquet, JSONL or text file.
        target: Parquet file to write.
        carried: Columns to keep in addition to `id` and `text`, as text; null if a file lacks them.
        on_bytes: Called with the number of bytes read since its last call.

    Raises:
        UserError: See `batches`.
    """
    schema, rejected = schema_of(carried), Counter[str]()
    rows = size = held = 0
    run: list[pa.Table] = []
    with pq.ParquetWriter(target, schema, **SCRATCH) as writer:

        def flush() -> None:
            table = pa.concat_tables([schema.empty_table(), *run])
            writer.write_table(table.sort_by([(SLOT, "ascending")]), ROW_GROUP)
            run.clear()

        for batch in batches(path, Layout(), on_bytes, carried, advice=""):
            rows += len(batch.texts) + batch.rejected.total()
            rejected.update(batch.rejected)
            ids = batch.ids.to_pylist()
            slots = [xxhash.xxh3_64_intdigest(i.encode()) >> 32 for i in ids]
            columns = [pa.array(slots, pa.uint32()), batch.ids, batch.texts.cast(pa.string()),
                       *(batch.rows[name] for name in carried)]  # fmt: skip
            run.append(pa.table(columns, schema=schema))
            held += pc.sum(pc.utf8_length(batch.texts)).as_py() or 0
            if held >= RUN_CHARACTERS:
                flush()
                size, held = size + held, 0
        flush()
    return {"rows": rows, "characters": size + held, "rejected": dict(rejected)}


def read_part(runs: Sequence[Path], low: int, high: int) -> pa.Table:
    """Read the documents of all runs with `low <= slot < high`, sorted by id and text.

    Rows that agree in both are sorted by the other columns, so that no order depends on the files.
    """
    wanted = (pc.field(SLOT) >= low) & (pc.field(SLOT) < high)
    table = ds.dataset([str(run) for run in runs], format="parquet").to_table(filter=wanted)
    return table.sort_by([(name, "ascending") for name in table.column_names if name != SLOT])
