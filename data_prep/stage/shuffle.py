"""External sort of documents by a hash of their id, in bounded memory.

The order depends on the content alone, not on files or their order. Each input is cut into runs
that are sorted by slot, the first 32 bits of the hash, and written in small row groups. A part of
the result is a range of slots, read from all runs and sorted by id.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypedDict

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import xxhash

from data_prep.reddit.dumps import BrokenDumpError, line_batches
from data_prep.stage.readers import open_parquet
from webtext_gpt.errors import UserError

RUN_CHARACTERS = 64 << 20  # characters of text in a run, which is held in memory and sorted
ROWS_AT_ONCE = 1024
ROW_GROUP = 1024
# Texts do not repeat, so dictionaries would only cost time. Statistics let a reader skip slots.
SCRATCH: dict[str, Any] = {
    "compression": "lz4", "use_dictionary": False, "write_statistics": ["slot"],
}  # fmt: skip
SLOTS = 1 << 32

SUFFIXES = (
    ".parquet",
    ".jsonl",
    ".ndjson",
    *(f".jsonl{s}" for s in (".gz", ".zst", ".xz", ".bz2")),
)


class RunRecord(TypedDict):
    """Counts of one file: rows read, characters of text kept, rejected rows by reason."""

    rows: int
    characters: int
    rejected: dict[str, int]


def schema_of(carried: Sequence[str]) -> pa.Schema:
    """Return the schema of a run: `slot`, `id`, `text` and the carried columns."""
    names = ["id", "text", *carried]
    return pa.schema([("slot", pa.uint32()), *((name, pa.string()) for name in names)])


def write_runs(
    path: Path, target: Path, carried: Sequence[str], on_bytes: Callable[[int], object]
) -> RunRecord:
    """Write the documents of one file to `target` in sorted runs, and count them.

    Args:
        path: Parquet or JSONL file.
        target: Parquet file to write.
        carried: Columns to keep in addition to `id` and `text`, as text; null if a file lacks them.
        on_bytes: Called with the number of bytes read since its last call.

    Raises:
        UserError: The file is not Parquet or JSONL, is damaged, or lacks `id` or `text`.
    """
    schema, rejected = schema_of(carried), Counter[str]()
    rows = size = held = 0
    read = _parquet_tables if path.suffix == ".parquet" else _json_tables
    run: list[pa.Table] = []
    with pq.ParquetWriter(target, schema, **SCRATCH) as writer:

        def flush() -> None:
            table = pa.concat_tables([schema.empty_table(), *run])
            writer.write_table(table.sort_by([("slot", "ascending")]), ROW_GROUP)
            run.clear()

        for table, faults in read(path, carried, on_bytes):
            rows += table.num_rows + faults.total()
            rejected.update(faults)
            ids = table["id"].to_pylist()
            slots = pa.array([xxhash.xxh3_64_intdigest(i.encode()) >> 32 for i in ids], pa.uint32())
            run.append(table.add_column(0, "slot", slots))
            held += pc.sum(pc.utf8_length(table["text"])).as_py() or 0
            if held >= RUN_CHARACTERS:
                flush()
                size, held = size + held, 0
        flush()
    return {"rows": rows, "characters": size + held, "rejected": dict(rejected)}


def read_part(runs: Sequence[Path], low: int, high: int) -> pa.Table:
    """Read the documents of all runs with `low <= slot < high`, sorted by id and text.

    Rows that agree in both are sorted by the other columns, so that no order depends on the files.
    """
    wanted = (pc.field("slot") >= low) & (pc.field("slot") < high)
    table = ds.dataset([str(run) for run in runs], format="parquet").to_table(filter=wanted)
    return table.sort_by([(name, "ascending") for name in table.column_names if name != "slot"])


def _parquet_tables(
    path: Path, carried: Sequence[str], on_bytes: Callable[[int], object]
) -> Iterator[tuple[pa.Table, Counter[str]]]:
    with open_parquet(path, needed=("id", "text")) as file:
        names = file.schema_arrow.names
        share = path.stat().st_size / max(file.metadata.num_rows, 1)
        columns = [name for name in ("id", "text", *carried) if name in names]
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=columns):
            yield _sound(
                [
                    batch.column(name).cast(pa.string())
                    if name in columns
                    else pa.nulls(len(batch), pa.string())
                    for name in ("id", "text", *carried)
                ],
                carried,
            )
            on_bytes(round(share * len(batch)))


def _json_tables(
    path: Path, carried: Sequence[str], on_bytes: Callable[[int], object]
) -> Iterator[tuple[pa.Table, Counter[str]]]:
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    names = ("id", "text", *carried)
    read = bad = 0
    try:
        for lines in line_batches(path, on_bytes):
            rows, before = [], bad
            for line in lines:
                try:
                    row = decode(line)
                except msgspec.DecodeError:
                    bad += 1
                    continue
                rows.append([_text(row.get(name), name) for name in names])
            read += len(lines)
            if read and bad == read:
                raise UserError(f"{path}: none of the first {read:,} rows is a JSON object")
            columns = zip(*rows, strict=True) if rows else ([] for _ in names)
            table, faults = _sound([pa.array(list(c), pa.string()) for c in columns], carried)
            faults["malformed row"] += bad - before
            yield table, +faults
    except BrokenDumpError as error:
        raise UserError(f"{path}: {error}, after {read:,} rows") from error


def _text(value: object, name: str) -> str | None:
    """Convert a JSON value to text; None if it cannot be. An id may be a whole number."""
    if isinstance(value, str):
        return value
    if value is None or name == "text" or (name == "id" and type(value) is not int):
        return None
    return str(value)


def _sound(columns: list[pa.Array], carried: Sequence[str]) -> tuple[pa.Table, Counter[str]]:
    """Return the rows with an id and a text, and count the others by reason."""
    table = pa.Table.from_arrays(columns, names=["id", "text", *carried])
    named = pc.is_valid(table["id"])
    blank = pc.equal(pc.utf8_length(pc.utf8_ltrim_whitespace(table["text"])), 0)
    written = pc.invert(pc.fill_null(blank, True))
    sound = table.filter(pc.and_(named, written))
    nameless = table.num_rows - (pc.sum(named).as_py() or 0)
    faults = Counter({"no id": nameless, "no text": table.num_rows - sound.num_rows - nameless})
    return sound, +faults
