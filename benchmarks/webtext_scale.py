"""Stages whose memory could grow with counts, at counts up to those of WebText and beyond.

    python benchmarks/webtext_scale.py stage=signatures sizes=100_000,1_000_000,8_000_000
    python benchmarks/webtext_scale.py stage=bloom sizes=10_000_000_000
    python benchmarks/webtext_scale.py stage=tokens sizes=10_000_000_000

`signatures` clusters documents. One in 40 is made by `common/webtext.py` and signed by the stage's
own code; a third of these are copies of each other, with known similarities. The others have random
signatures, as unrelated texts do. `bloom` sizes a filter of 8-grams and builds the first of its
parts of 2 GB. `tokens` opens shards of sparse files and draws samples. `sizes` are the numbers of
documents, 8-grams or tokens. Each size runs in a process of its own; its memory is the peak
resident size from the process's start, mapped files included.
"""

import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.common.report import report
from benchmarks.common.timing import timed
from benchmarks.common.webtext import CHANGED, WebText, ids

BANDS, ROWS = 28, 4  # of dedup's defaults, with every band split in two
PART = 1 << 18  # documents
REAL = 40  # one in so many documents has a text
FILTER_PART_BYTES = 2_000_000_000
PART_HASHES = 20_000_000
DOCUMENT_TOKENS = 1_250

Figures = dict[str, Any]


def make_signatures(folder: Path, documents: int) -> None:
    """Write the parts and the key files of a corpus, as `dedup` has them before it clusters."""
    from data_prep.near_duplicates.candidates import band_keys
    from data_prep.near_duplicates.key_files import write_keys
    from data_prep.near_duplicates.signatures import sign_part

    real = documents // REAL
    tables = pa.concat_tables(WebText().tables(real))
    parts = []
    for start in range(0, real, PART):
        parts.append(folder / f"part-{len(parts):05d}.parquet")
        pq.write_table(tables.slice(start, PART), parts[-1], compression="lz4")
    keys = [folder / f"keys-{at}.npy" for at in range(len(parts))]
    for part, target in zip(parts, keys, strict=True):
        sign_part((part, target), ngram=5, bands=BANDS, rows=ROWS)
    rng = np.random.default_rng(1)
    for start in range(real, documents, PART):
        count = min(PART, documents - start)
        parts.append(folder / f"part-{len(parts):05d}.parquet")
        table = pa.table({"id": ids(start, count), "text": [""] * count})
        pq.write_table(table, parts[-1], compression="lz4")
        minima = rng.integers(0, 1 << 32, (count, BANDS * ROWS), np.uint32)
        text = rng.integers(0, 1 << 64, (count, 2), np.uint64)
        keys.append(folder / f"random-{start}.npy")
        write_keys(keys[-1], np.concatenate([text, band_keys(minima, BANDS)], axis=1))
    names = {"parts": [p.name for p in parts], "keys": [k.name for k in keys]}
    (folder / "names.json").write_text(json.dumps(names))


def cluster(folder: Path) -> Figures:
    """Cluster a corpus by the stage's own code."""
    from data_prep.near_duplicates.clusters import find_clusters

    names = json.loads((folder / "names.json").read_text())
    parts, keys = ([folder / name for name in names[key]] for key in ("parts", "keys"))
    out = folder / "out"
    out.mkdir()
    ledger = cast(Any, SimpleNamespace(work=folder, out=out))
    cost = timed(lambda: find_clusters(ledger, parts, keys, ngram=5, threshold=0.8))
    return {"wall s": cost.wall, "CPU s": cost.cpu, "peak MB": peak_memory()}


def signatures(folder: Path, documents: int) -> Figures:
    """Cluster documents, and look for each planted pair."""
    alone(make_signatures, folder, documents)
    figures = {"documents": documents, **alone(cluster, folder)}
    table = pq.read_table(folder / "out/clusters.parquet")
    found = set(zip(table["kept"].to_pylist(), table["dropped"].to_pylist(), strict=True))
    expected = 0
    for kind in range(len(CHANGED)):
        copies = WebText().copies(kind, documents // REAL)
        names = [
            (ids(int(one), 1)[0], ids(int(other), 1)[0])
            for one, other in zip(copies.original, copies.copy, strict=True)
        ]
        hits = sum((min(pair), max(pair)) in found for pair in names)
        figures[f"pairs of {copies.similarity:.2f} found"] = f"{hits:,} of {len(names):,}"
        expected += hits
    figures["other pairs"] = len(found) - expected
    files = folder.glob("*.npy")
    figures["keys on disk, MB"] = sum(file.stat().st_size for file in files) / 1e6
    return figures


def bloom(folder: Path, items: int) -> Figures:
    """Size a filter of `items` 8-grams, and build its first part, as `overlap` does."""
    from data_prep.ngrams.bloom_part import FilterPart, part_ranges
    from data_prep.ngrams.bloom_size import HALVES, blocks_for, rate_of_load

    blocks = blocks_for(items)
    ranges = part_ranges(blocks, FILTER_PART_BYTES)
    part = FilterPart(blocks, *ranges[0])
    part.words.fill(0)  # the system gives memory on its first use
    hashes = np.random.default_rng(0).integers(0, 1 << 64, min(items, PART_HASHES), np.uint64)
    FilterPart(1, 0, 2).add_share(hashes[:1], 0, 1)  # compiles the loops
    FilterPart(1, 0, 2).contains(hashes[:1])
    adding = timed(lambda: part.add_share(hashes, 0, 1))
    asking = timed(lambda: part.contains(hashes))
    set_bits = int(np.bitwise_count(part.words).sum(dtype=np.int64))
    share = (ranges[0][1] - ranges[0][0]) / (HALVES * blocks)
    n_bytes = HALVES * blocks * 64
    return {
        "8-grams": items, "filter, GB": n_bytes / 1e9, "bits an 8-gram": 8 * n_bytes / items,
        "rate by its size": f"{rate_of_load(items / blocks):.3g}", "parts": len(ranges),
        "bits set of one hash in all parts": set_bits / share / len(hashes),
        "hashes added a CPU s, M": len(hashes) / adding.cpu / 1e6,
        "hashes asked a CPU s, M": len(hashes) / asking.cpu / 1e6,
        "CPU h of all parts": len(ranges) * items / len(hashes) * adding.cpu / 3600,
        "peak MB": peak_memory(),
    }  # fmt: skip


def tokens(folder: Path, count: int) -> Figures:
    """Open shards of `count` tokens, draw 2,000 samples, and order all documents by length."""
    from webtext_gpt.data.sampler import GlobalBatchSampler, block_start
    from webtext_gpt.data.shards import TokenShards

    alone(make_shards, folder / "shards", count)
    opened: list[TokenShards] = []
    opening = timed(lambda: opened.append(TokenShards(folder / "shards")))
    stream = opened[0].split("train")
    batches = iter(GlobalBatchSampler(512, 8, first_step=10**6))

    def draw() -> None:
        for _ in range(250):
            for sample in next(batches):
                start = block_start(sample, 0, stream.n_tokens, 1024)
                stream.read(start, 1025)

    drawing = timed(draw)
    lengths = timed(lambda: np.sort(stream.document_lengths()))
    return {
        "tokens": stream.n_tokens, "documents": stream.n_documents, "open, CPU s": opening.cpu,
        "one sample, CPU us": drawing.cpu / 2000 * 1e6, "lengths sorted, CPU s": lengths.cpu,
        "peak MB": peak_memory(),
    }  # fmt: skip


def make_shards(folder: Path, count: int) -> None:
    """Write shards with sparse files of tokens, in documents of 1,250 tokens on average."""
    import hashlib

    from webtext_gpt.data.shard_writer import SHARD_TOKENS, manifest_of
    from webtext_gpt.data.shards import MANIFEST, TOKENIZER, ShardFile, token_dtype
    from webtext_gpt.files import write_json
    from webtext_gpt.manifests import sealed
    from webtext_gpt.tokenizer import build_char_vocabulary

    folder.mkdir()
    tokenizer = build_char_vocabulary(["some text"])
    width = token_dtype(tokenizer.vocab_size).itemsize
    rng, files = np.random.default_rng(0), []
    for number, start in enumerate(range(0, count, SHARD_TOKENS)):
        size = min(SHARD_TOKENS, count - start)
        name, starts_name = f"tokens-{number:05d}.bin", f"documents-{number:05d}.bin"
        with (folder / name).open("wb") as file:
            file.truncate(size * width)
        starts = np.unique(rng.integers(0, size, size // DOCUMENT_TOKENS, np.uint64))
        starts[0] = 0
        data = starts.astype("<u8").tobytes()
        (folder / starts_name).write_bytes(data)
        # Files of tokens are hashed by `verify` only, and training does not call it.
        files.append(
            ShardFile(name, starts_name, "train", size, len(starts), 4 * size, "0" * 64,
                      hashlib.sha256(data).hexdigest())
        )  # fmt: skip
    tokenizer.save(folder / TOKENIZER)
    write_json(folder / MANIFEST, sealed(manifest_of(tokenizer, files, {"kind": "sparse"})))


def alone(work: Callable[..., Any], *arguments: object) -> Any:
    """Do some work in a new process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        return pool.submit(work, *arguments).result()


def peak_memory() -> float:
    """Return the peak resident memory of this process in MB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6


STAGES: dict[str, Callable[[Path, int], Figures]] = {
    "signatures": signatures, "bloom": bloom, "tokens": tokens,
}  # fmt: skip
SIZES = {
    "signatures": "100_000,1_000_000,8_000_000",
    "bloom": "100_000_000,1_000_000_000,10_000_000_000",
    "tokens": "100_000_000,1_000_000_000,10_000_000_000",
}


def main() -> None:
    """Measure one stage at some sizes, and print a column for each."""
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    stage = given.get("stage", "")
    if stage not in STAGES:
        sys.exit(__doc__)
    sizes = [int(size) for size in given.get("sizes", SIZES[stage]).split(",")]
    columns = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            started = time.monotonic()
            inside = partial(STAGES[stage], Path(name), size)
            # `signatures` reads its results here, and works in processes of its own.
            found = inside() if stage == "signatures" else alone(inside)
            columns.append(found)
            took = time.monotonic() - started
            print(f"{size:,}: {took:.0f} s", json.dumps(found), file=sys.stderr, flush=True)
    keys = list(dict.fromkeys(key for column in columns for key in column))
    rows = [[key, *(shown(column.get(key, "")) for column in columns)] for key in keys[1:]]
    report(
        f"How do time and memory of {stage} grow with their number?",
        (keys[0], *(f"{size:,}" for size in sizes)),
        rows,
    )


def shown(value: object) -> str:
    """Return a figure with three digits or more."""
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    main()
