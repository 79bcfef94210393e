"""Documents to unique documents: exact copies, then near copies, verified and grouped.

    python data_prep/dedup.py documents=[corpus/documents] out=corpus/dedup

MinHash of word n-grams (Broder 1997) proposes pairs: two documents are candidates if one of
`bands` groups of `rows` minima, or one of the `split` parts of a group, is equal. Each is then
checked by the true Jaccard similarity of its n-gram sets; connected components of what remains
are clusters, and a cluster's smallest id is kept. `clusters.parquet` says of each dropped
document which one was kept in its place.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from omegaconf import DictConfig

from data_prep.near_duplicates.clusters import find_clusters
from data_prep.near_duplicates.signatures import sign_parts
from data_prep.ngrams.words import WORDS_VERSION
from data_prep.stage import ledger, shuffle, workers
from data_prep.stage.engine import NATIVE, start_engine
from data_prep.stage.settings import settings
from webtext_gpt.cli import entry_point
from webtext_gpt.errors import UserError

SMALL_INPUT = 256 << 20  # bytes that one process reads sooner than others start


def deduplicate(
    documents: Sequence[str],
    out: str | Path,
    *,
    threshold: float = 0.8,
    ngram: int = 5,
    bands: int = 14,
    rows: int = 8,
    split: int = 2,
    carry: Sequence[str] = ("url", "domain", "language"),
    part_characters: int = 128_000_000,
    workers_at_once: int | None = None,
    engine: Mapping[str, Any] = NATIVE,
) -> dict[str, Any]:
    """Make `out` from documents (files, folders, globs) and return its manifest.

    `part_characters` of text make one part of the output, and are held in memory at a time.

    Raises:
        UserError: documents that cannot be read; settings out of range; `out` that holds
            something else.
    """
    if not 0 < threshold <= 1 or min(ngram, bands, rows, split, part_characters) < 1:
        raise UserError(
            "threshold must be in (0, 1]; ngram, bands, rows, split, part_characters at least 1"
        )
    if rows % split:
        raise UserError(f"split={split} does not divide rows={rows}")
    watch = ledger.Stopwatch()
    paths = ledger.expand(documents, shuffle.SUFFIXES)
    prints = {path: ledger.fingerprint(path) for path in paths}
    config = {
        "threshold": threshold, "ngram": ngram, "bands": bands, "rows": rows, "split": split,
        "carry": list(carry), "words": WORDS_VERSION,
        "part_characters": part_characters,
    }  # fmt: skip
    with ledger.Ledger(
        Path(out),
        "dedup",
        config,
        list(prints.values()),
        sources=ledger.sources(prints),
        newer_keys=["words"],
    ) as book:
        if book.manifest is None:
            start_engine(engine)
            counts = _cut_into_runs(book, prints, list(carry), workers_at_once)
            parts = _gather_parts(book, counts, part_characters)
            minima = (bands * split, rows // split)
            keys = sign_parts(book, parts, ngram=ngram, bands=minima[0], rows=minima[1])
            dropped = find_clusters(book, parts, keys, ngram=ngram, threshold=threshold)
            _write(book, counts, parts, dropped, watch)
        assert book.manifest is not None  # noqa: S101 - for the type checker
        return book.manifest


def _cut_into_runs(
    book: ledger.Ledger,
    prints: Mapping[Path, dict[str, Any]],
    carry: list[str],
    workers_at_once: int | None,
) -> list[dict[str, Any]]:
    todo = [path for path, entry in prints.items() if book.done(entry["xxh3"]) is None]
    size = sum(path.stat().st_size for path in todo)
    run = partial(_run, prints=prints, folder=book.work, carry=carry)
    at_once = 1 if size < SMALL_INPUT else workers_at_once
    for path, record in workers.each(
        run, todo, at_once, total=size, unit="B", label="reading documents"
    ):
        book.finish_unit(prints[path]["xxh3"], record)
    return [book.done(entry["xxh3"]) or {} for entry in book.inputs]


def _run(
    path: Path, prints: Mapping[Path, dict[str, Any]], folder: Path, carry: list[str]
) -> dict[str, Any]:
    target = folder / f"run-{prints[path]['xxh3']}.parquet"
    with ledger.aside(target) as temporary:
        record = shuffle.write_runs(path, temporary, carry, workers.advance)
    return {**record, "file": target.name}


def _gather_parts(
    book: ledger.Ledger, counts: Sequence[Mapping[str, Any]], part_characters: int
) -> list[Path]:
    """Parts in their final order, still with duplicates; an id comes once."""
    runs = [book.work / count["file"] for count in counts]
    number = max(-(-sum(count["characters"] for count in counts) // part_characters), 1)
    bounds = [shuffle.SLOTS * at // number for at in range(number + 1)]
    parts = []
    for at in range(number):
        part = book.work / f"part-{at:05d}.parquet"
        if book.done(part.name) is None:
            table = shuffle.read_part(runs, bounds[at], bounds[at + 1]).combine_chunks()
            ids = table["id"].to_numpy(zero_copy_only=False)
            first = np.concatenate(([True], ids[1:] != ids[:-1])) if len(ids) else ids
            table = table.filter(pa.array(first, pa.bool_()))
            with ledger.aside(part) as temporary:
                pq.write_table(table.drop_columns("slot"), temporary, **shuffle.SCRATCH)
            record = {"repeated": len(ids) - table.num_rows, "rows": table.num_rows}
            book.finish_unit(part.name, record)
        parts.append(part)
    return parts


def _write(
    book: ledger.Ledger,
    counts: Sequence[Mapping[str, Any]],
    parts: Sequence[Path],
    dropped: np.ndarray,
    watch: ledger.Stopwatch,
) -> None:
    """Write what is kept; `dropped` (N,) holds 0 for kept, 1 for exact, 2 for near copies."""
    rejected: Counter[str] = Counter()
    for count in counts:
        rejected.update(count["rejected"])
    start = rows_out = 0
    for at, part in enumerate(parts):
        record = book.done(part.name) or {}
        marks = dropped[start : start + record["rows"]]
        start += record["rows"]
        target = book.out / f"documents-{at:05d}.parquet"
        if not target.exists():
            table = pq.read_table(part).filter(pa.array(marks == 0))
            with ledger.aside(target) as temporary:
                pq.write_table(
                    table, temporary, compression="zstd", row_group_size=4096,
                    use_dictionary=table.column_names[2:], write_statistics=["id"],
                )  # fmt: skip
        rows_out += int((marks == 0).sum())
        rejected.update({
            "repeated id": record["repeated"],
            "exact duplicate": int((marks == 1).sum()),
            "near duplicate": int((marks == 2).sum()),
        })  # fmt: skip
    book.finish(
        rows_in=sum(count["rows"] for count in counts),
        rows_out=rows_out,
        rejected=+rejected,
        seconds=watch.seconds,
    )


def run(cfg: DictConfig) -> dict[str, Any]:
    """De-duplicate as a composed configuration says. Returns the manifest."""
    options = settings(
        cfg,
        {"documents": list, "carry": list, "threshold": float, "ngram": int, "bands": int,
         "rows": int, "split": int, "part_characters": int},
    )  # fmt: skip
    return deduplicate(
        options["documents"],
        options["out"],
        threshold=options["threshold"],
        ngram=options["ngram"],
        bands=options["bands"],
        rows=options["rows"],
        split=options["split"],
        carry=options["carry"],
        part_characters=options["part_characters"],
        workers_at_once=options["workers"],
        engine=options["engine"],
    )


@entry_point("data_prep/dedup")
def main(cfg: DictConfig) -> None:
    """Compose the configuration, de-duplicate, print the counts."""
    manifest = run(cfg)
    ledger.print_counts(manifest)


if __name__ == "__main__":
    main()
