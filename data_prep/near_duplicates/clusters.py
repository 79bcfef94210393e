"""Clusters of duplicates: verified candidates, connected components, the document kept."""

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.near_duplicates.candidates import Verifier, equal_values, groups_of_equal
from data_prep.near_duplicates.ngram_sets import jaccard, ngram_sets
from data_prep.near_duplicates.sets import SKETCH_WORDS, Sets, sketch
from data_prep.ngrams.arrays import Bytes, Hashes, Integers
from data_prep.stage.ledger import Ledger
from webtext_gpt.files import replaced

SCHEMA = pa.schema(
    [("kept", pa.string()), ("dropped", pa.string()), ("similarity", pa.float64()),
     ("kind", pa.string())]
)  # fmt: skip


def find_clusters(
    ledger: Ledger, parts: Sequence[Path], keys: Sequence[Path], *, ngram: int, threshold: float
) -> Bytes:
    """Write `clusters.parquet` and mark the documents to drop.

    Args:
        ledger: The output folder.
        parts: Parquet files of documents with unique ids.
        keys: Files that `sign_parts` wrote for them.
        ngram: Words per n-gram.
        threshold: Minimum Jaccard similarity of near-duplicates.

    Returns:
        A mark for each document (N,), numbered across all parts: 0 keep, 1 exact duplicate (its
        words are those of the document kept), 2 near-duplicate.
    """
    columns = [np.load(file, mmap_mode="r", allow_pickle=False) for file in keys]
    total = sum(len(column) for column in columns)
    text_keys = np.concatenate([column[:, :2] for column in columns])
    # Documents with the same words are represented by the first of them.
    representative = np.arange(total)
    for rows in groups_of_equal(text_keys):
        representative[rows] = rows[0]
    first = np.flatnonzero(representative == np.arange(total))

    def buckets() -> Iterator[tuple[Integers, Integers]]:
        # Computed twice, because all buckets at once would not fit into memory.
        for band in range(2, columns[0].shape[1]):
            keys_of_band = np.concatenate([column[:, band] for column in columns])[first]
            members, bounds = equal_values(keys_of_band)
            yield first[members], bounds

    is_candidate = np.zeros(total, bool)
    for members, _ in buckets():
        is_candidate[members] = True
    candidates = np.flatnonzero(is_candidate)
    number = np.cumsum(is_candidate) - 1  # of a candidate among the candidates
    copies = np.flatnonzero(representative != np.arange(total))
    with _NgramStore(ledger, parts, candidates, ngram) as store:
        verifier = Verifier(store.sets, threshold)
        for members, bounds in buckets():
            verifier.compare_buckets(number[members], bounds)
        verifier.compare_crowds()
        edges = candidates[verifier.edges()]
        edges = np.concatenate([edges, np.stack([representative[copies], copies], axis=1)])
        return _write(ledger, parts, edges, representative, store)


def _write(
    ledger: Ledger,
    parts: Sequence[Path],
    edges: Integers,
    representative: Integers,
    store: "_NgramStore",
) -> Bytes:
    """Write the clusters, sorted by kept, then dropped; return the marks."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    marks = np.zeros(len(representative), np.uint8)
    members = np.unique(edges)
    ids = dict(zip(members.tolist(), _ids_of(parts, members), strict=True))
    ends = np.searchsorted(members, edges)
    graph = coo_array(
        (np.ones(len(ends), bool), (ends[:, 0], ends[:, 1])), shape=(len(members),) * 2
    )
    labels = connected_components(graph, directed=False)[1] if len(members) else members
    table = []
    for group in groups_of_equal(labels):
        rows = members[group].tolist()
        kept = min(rows, key=lambda row: ids[row])
        for row in rows:
            if row == kept:
                continue
            exact = representative[row] == representative[kept]
            marks[row] = 1 if exact else 2
            alike = 1.0 if exact else jaccard(*(store.of(representative[at]) for at in (row, kept)))
            table.append((ids[kept], ids[row], alike, "exact" if exact else "near"))
    lists = list(zip(*sorted(table), strict=True)) or [()] * len(SCHEMA)
    arrays = [pa.array(c, f.type) for c, f in zip(lists, SCHEMA, strict=True)]
    with replaced(ledger.out / "clusters.parquet") as partial:
        pq.write_table(pa.table(arrays, schema=SCHEMA), partial, compression="zstd")
    return marks


def _ids_of(parts: Sequence[Path], rows: Integers) -> list[str]:
    """Read the ids of some documents, given by ascending row numbers."""
    ids, start = [], 0
    for part in parts:
        column = pq.read_table(part, columns=["id"])["id"]
        inside = rows[(rows >= start) & (rows < start + len(column))] - start
        ids += column.take(pa.array(inside)).to_pylist()
        start += len(column)
    return ids


class _NgramStore:
    """N-gram sets of the candidates and their sketches, in memory-mapped scratch files."""

    def __init__(self, ledger: Ledger, parts: Sequence[Path], rows: Integers, size: int) -> None:
        grams, sketches = ledger.work / "ngrams.bin", ledger.work / "sketches.bin"
        self._rows = rows
        bounds = array("q", [0])
        start = 0
        with grams.open("wb") as file, sketches.open("wb") as sketch_file:
            for part in parts:
                number = pq.read_metadata(part).num_rows
                inside = rows[(rows >= start) & (rows < start + number)] - start
                start += number
                if not len(inside):
                    continue
                texts = pq.read_table(part, columns=["text"]).take(pa.array(inside))
                for batch in texts.to_batches(4096):
                    for ngrams in ngram_sets(batch["text"], size):
                        file.write(ngrams.tobytes())
                        sketch_file.write(sketch(ngrams).tobytes())
                        bounds.append(bounds[-1] + len(ngrams))
        self.sets = Sets(
            _mapped(grams),
            np.array(bounds, np.int64),
            _mapped(sketches).reshape(-1, SKETCH_WORDS),
        )

    def __enter__(self) -> "_NgramStore":
        return self

    def __exit__(self, *_: object) -> None:
        del self.sets

    def of(self, row: int) -> Hashes:
        """Return the n-gram set of a candidate, as sorted hashes."""
        return self.sets.of(int(np.searchsorted(self._rows, row)))


def _mapped(path: Path) -> Hashes:
    """Map a file of 64-bit hashes into memory; an empty file cannot be mapped."""
    if not path.stat().st_size:
        return np.empty(0, np.uint64)
    return np.asarray(np.memmap(path, np.uint64))
