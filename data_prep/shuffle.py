"""Documents of any files, in an order that only their content decides, in bounded memory.

Each input is cut into runs, sorted by a hash of the id and written with small row groups; a
part of the result is one range of that hash, gathered from all runs and sorted by id.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import xxhash

from data_prep.dumps import BrokenDumpError, line_batches
from webtext_gpt.errors import UserError

RUN_BYTES = 64 << 20  # text held while a run is sorted
ROW_GROUP = 1024
SLOTS = 1 << 32

SUFFIXES = (
    ".parquet",
    ".jsonl",
    ".ndjson",
    *(f".jsonl{s}" for s in (".gz", ".zst", ".xz", ".bz2")),
)


def schema_of(carried: Sequence[str]) -> pa.Schema:
    """`slot`, `id`, `text`, and the columns carried along."""
    names = ["id", "text", *carried]
    return pa.schema([("slot", pa.uint32()), *((name, pa.string()) for name in names)])


def write_runs(
    path: Path, target: Path, carried: Sequence[str], on_bytes: Callable[[int], None]
) -> dict[str, Any]:
    """Sort one file's documents into runs; count rows, bytes of text and rejected rows.

    Raises:
        UserError: not Parquet or JSONL, damaged, or without the columns `id` and `text`.
    """
    schema, rejected = schema_of(carried), Counter[str]()
    rows = size = held = 0
    read = _parquet_rows if path.suffix == ".parquet" else _json_rows
    run: list[tuple[Any, ...]] = []
    with pq.ParquetWriter(target, schema, compression="lz4") as writer:

        def flush() -> None:
            columns: list[Any] = list(zip(*sorted(run), strict=True)) or [()] * len(schema)
            arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
            writer.write_table(pa.table(arrays, schema=schema), ROW_GROUP)
            run.clear()

        for row in read(path, carried, on_bytes):
            rows += 1
            if isinstance(row, str):
                rejected[row] += 1
                continue
            slot = xxhash.xxh3_64_intdigest(row[0].encode()) >> 32
            run.append((slot, *row))
            held += len(row[1])
            if held >= RUN_BYTES:
                flush()
                size, held = size + held, 0
        flush()
    return {"rows": rows, "characters": size + held, "rejected": dict(rejected)}


def read_part(runs: Sequence[Path], low: int, high: int) -> pa.Table:
    """All documents of the runs with `low <= slot < high`, sorted by id, then by text."""
    wanted = (pc.field("slot") >= low) & (pc.field("slot") < high)
    table = ds.dataset([str(run) for run in runs], format="parquet").to_table(filter=wanted)
    return table.sort_by([("id", "ascending"), ("text", "ascending")])


def _parquet_rows(
    path: Path, carried: Sequence[str], on_bytes: Callable[[int], None]
) -> Iterator[tuple[Any, ...] | str]:
    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        _require(path, names)
        share = path.stat().st_size / max(file.metadata.num_rows, 1)
        columns = [name for name in ("id", "text", *carried) if name in names]
        for batch in file.iter_batches(ROW_GROUP, columns=columns):
            lists = [
                batch.column(name).to_pylist() if name in columns else [None] * len(batch)
                for name in ("id", "text", *carried)
            ]
            yield from (_row(*values) for values in zip(*lists, strict=True))
            on_bytes(round(share * len(batch)))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise UserError(f"{path}: no Parquet that can be read: {error}") from error


def _json_rows(
    path: Path, carried: Sequence[str], on_bytes: Callable[[int], None]
) -> Iterator[tuple[Any, ...] | str]:
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    read = bad = 0
    try:
        for lines in line_batches(path, on_bytes):
            for line in lines:
                read += 1
                try:
                    row = decode(line)
                except msgspec.DecodeError:
                    bad += 1
                    yield "malformed row"
                    continue
                yield _row(row.get("id"), row.get("text"), *(row.get(name) for name in carried))
            if read and bad == read:
                raise UserError(f"{path}: none of the first {read:,} rows is a JSON object")
    except BrokenDumpError as error:
        raise UserError(f"{path}: {error}, after {read:,} rows") from error


def _require(path: Path, names: Sequence[str]) -> None:
    for name in ("id", "text"):
        if name not in names:
            raise UserError(f"{path}: no column {name!r} among {', '.join(names)}")


def _row(name: Any, text: Any, *others: Any) -> tuple[Any, ...] | str:
    if name is None or isinstance(name, bool | float | dict | list | bytes):
        return "no id"
    if not isinstance(text, str) or not text.strip():
        return "no text"
    return str(name), text, *(None if value is None else str(value) for value in others)
