"""Documents to unique documents: drop exact duplicates and near-duplicates.

    python data_prep/dedup.py documents=[corpus/documents] out=corpus/dedup

MinHash of word n-grams (Broder 1997) proposes pairs: a signature is divided into `bands` groups of
`rows` minima and each group into `split` parts, and two documents are candidates if one of these
parts is equal. The Jaccard similarity of their n-gram sets then decides. Connected components of
the similar pairs are clusters; each cluster keeps the document with the smallest id.
`clusters.parquet` names, for each dropped document, the one that was kept.

Rows with the same id and the same words are one document, counted as `repeated id`; different texts
under one id are different documents, see `identity`.
"""

if __name__ == "__main__":
    from webtext_gpt.commands import run_script

    run_script("dedup")


import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.near_duplicates.clusters import find_clusters
from data_prep.near_duplicates.identity import distinct_documents
from data_prep.near_duplicates.signatures import sign_parts
from data_prep.ngrams.words import WORDS_VERSION
from data_prep.settings import Dedup
from data_prep.stage import shuffle, workers
from data_prep.stage.engine import NATIVE, Engine, start_engine
from data_prep.stage.inputs import InputFile, find_inputs
from data_prep.stage.ledger import Ledger
from data_prep.stage.manifest import Manifest, print_counts, source_manifests
from data_prep.stage.readers import SUFFIXES
from data_prep.stage.records import Records
from webtext_gpt.cli import Call
from webtext_gpt.files import replaced
from webtext_gpt.terminal import say

IDENTITY = "id-and-words"
"""Name, in the manifest, of the rule that decides which rows are the same document."""

SMALL_INPUT = 256 << 20  # bytes that one process reads before worker processes would have started


class RunRecord(shuffle.RunRecord):
    """Record of one input: its counts and the scratch file with its sorted runs."""

    file: str


class PartRecord(TypedDict):
    """Record of one part: its documents, and those whose id was extended."""

    rows: int
    renamed: int


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
    engine: Engine = NATIVE,
) -> Manifest:
    """Write the documents of some files without exact duplicates and near-duplicates.

    Args:
        documents: Files, folders or globs of documents; see `webtext_gpt.data.documents`.
        out: Folder to create.
        threshold: Minimum Jaccard similarity of near-duplicates, in (0, 1].
        ngram: Words per n-gram.
        bands: Groups of minima per document.
        rows: Minima per group.
        split: Parts of a group; must divide `rows`.
        carry: Further columns to keep, as text.
        part_characters: Characters of text in a part of the output, which is held in memory.
        workers_at_once: Number of processes that read the inputs. None means one per core.
        engine: Where documents are read, partitioned, signed and written. Clusters are found here.

    Returns:
        The manifest.

    Raises:
        UserError: Documents cannot be read, or `out` holds other files.
    """
    started = time.monotonic()
    carry = [name for name in dict.fromkeys(carry) if name not in ("id", "text")]
    files = find_inputs(documents, SUFFIXES, "documents", check_later=True, out=out)
    config = {
        "threshold": threshold, "ngram": ngram, "bands": bands, "rows": rows, "split": split,
        "carry": list(carry), "part_characters": part_characters, "words": WORDS_VERSION,
        "identity": IDENTITY,
    }  # fmt: skip
    sources = source_manifests(file.path for file in files)
    with Ledger(
        out,
        "dedup",
        config,
        files,
        sources=sources,
        started=started,
        newer_keys=["words", "identity"],
        repeats=True,
    ) as ledger:
        if not ledger.finished:
            start_engine(engine, files, ledger.out)
            is_small = sum(file.size for file in files) < SMALL_INPUT
            runs = ledger.run_files(
                partial(_sort_file, folder=ledger.work, carry=list(carry)),
                ledger.inputs, label="reading documents", engine=engine,
                workers=1 if is_small and engine["name"] == "native" else workers_at_once,
            )  # fmt: skip
            by_part = partial(ledger.run_parts, workers=workers_at_once, engine=engine)
            parts, counts = _gather_parts(ledger.work, runs, part_characters, by_part)
            keys = sign_parts(parts, by_part, ngram=ngram, bands=bands * split, rows=rows // split)
            marks = find_clusters(ledger, parts, keys, ngram=ngram, threshold=threshold)
            sound = runs.total("rows") - runs.rejected.total()  # includes files given twice
            rejected = runs.rejected + Counter({"repeated id": sound - len(marks)})
            rejected += _write_unique(ledger.out, parts, counts, marks, by_part)
            renamed = counts.total("renamed")
            ledger.finish(
                rows_in=runs.total("rows"),
                rows_out=int((marks == 0).sum()),
                rejected=rejected,
                **({"renamed_ids": renamed} if renamed else {}),
            )
        return ledger.manifest


def _sort_file(file: InputFile, folder: Path, carry: list[str]) -> RunRecord:
    target = folder / f"run-{file.hash}.parquet"
    with replaced(target) as temporary:
        record = shuffle.write_runs(file.path, temporary, carry, workers.advance)
    return {**record, "file": target.name}


def _gather_parts(
    work: Path, runs: Records[RunRecord], part_characters: int, by_part: Callable[..., Any]
) -> tuple[list[Path], Records[PartRecord]]:
    """Write the documents in their final order, with exact duplicates under different ids."""
    files = [work / name for name in dict.fromkeys(run["file"] for run in runs)]
    number = max(-(-runs.total("characters") // part_characters), 1)
    bounds = [shuffle.SLOTS * at // number for at in range(number + 1)]
    parts = [work / f"part-{at:05d}.parquet" for at in range(number)]
    ranges = zip(parts, pairwise(bounds), strict=True)
    records: Records[PartRecord] = by_part(
        partial(_gather, files=files),
        {part.name: (part, low, high) for part, (low, high) in ranges},
        label="ordering documents",
    )
    return parts, records


def _gather(part: tuple[Path, int, int], files: Sequence[Path]) -> PartRecord:
    """Write one part: the documents with `low <= slot < high`."""
    target, low, high = part
    table = shuffle.read_part(files, low, high).combine_chunks()
    distinct = distinct_documents(table.drop_columns(shuffle.SLOT))
    with replaced(target) as temporary:
        pq.write_table(distinct.table, temporary, **shuffle.SCRATCH)
    return {"rows": distinct.table.num_rows, "renamed": distinct.renamed}


def _write_unique(
    out: Path,
    parts: Sequence[Path],
    counts: Records[PartRecord],
    marks: npt.NDArray[np.uint8],
    by_part: Callable[..., Any],
) -> Counter[str]:
    """Write the documents that are kept, and count the others by reason.

    `marks` (N,) holds 0 for a document that is kept, 1 for an exact duplicate, 2 for a
    near-duplicate. Rows are numbered across all parts.
    """
    ends = np.cumsum([count["rows"] for count in counts])
    shares = np.split(marks == 0, ends[:-1])
    names = [f"documents-{at:05d}.parquet" for at in range(len(parts))]
    by_part(
        _write_part,
        {
            name: (part, kept, out / name)
            for name, part, kept in zip(names, parts, shares, strict=True)
        },
        label="writing documents",
    )
    return Counter({
        "exact duplicate": int((marks == 1).sum()),
        "near duplicate": int((marks == 2).sum()),
    })  # fmt: skip


def _write_part(part: tuple[Path, npt.NDArray[np.bool_], Path]) -> dict[str, int]:
    """Write the documents of one part that are kept, given by flags (rows,)."""
    source, kept, target = part
    table = pq.read_table(source).filter(pa.array(kept))
    with replaced(target) as temporary:
        pq.write_table(
            table, temporary, compression="zstd", row_group_size=4096,
            use_dictionary=table.column_names[2:], write_statistics=["id"],
        )  # fmt: skip
    return {"rows": table.num_rows}


def run(settings: Dedup) -> Manifest:
    """Run the stage and return the manifest."""
    return deduplicate(
        settings.documents,
        settings.out,
        threshold=settings.threshold,
        ngram=settings.ngram,
        bands=settings.bands,
        rows=settings.rows,
        split=settings.split,
        carry=settings.carry,
        part_characters=settings.part_characters,
        workers_at_once=settings.workers,
        engine=settings.engine.arguments(),
    )


def main(settings: Dedup, call: Call) -> None:
    """Drop duplicates and print the counts."""
    manifest = run(settings)
    print_counts(manifest)
    if renamed := manifest.get("renamed_ids"):
        say(f"  {renamed:>12,}  documents share their id with other texts: it was extended")
