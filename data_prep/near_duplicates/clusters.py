"""Clusters of duplicates: verified candidates, connected components, the document kept."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_prep.near_duplicates.candidates import Verifier
from data_prep.near_duplicates.key_files import equal_keys, key_shape
from data_prep.near_duplicates.ngram_sets import jaccard, ngram_sets
from data_prep.near_duplicates.sets import SKETCH_WORDS, Sets, sketch
from data_prep.ngrams.arrays import Bytes, Hashes, Integers
from data_prep.stage.ledger import Ledger
from webtext_gpt.files import replaced

TEXT = (0, 1)
"""Columns of the keys that are hashes of a document's words."""

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
    columns, total = key_shape(keys)
    copies = _Copies(equal_keys(keys, TEXT, left_out=np.zeros(total, bool)))
    is_copy = np.zeros(total, bool)
    is_copy[copies.rows] = True

    def buckets() -> Iterator[tuple[Integers, Integers]]:
        # Computed twice, because all buckets at once would not fit into memory.
        for band in range(len(TEXT), columns):
            yield from equal_keys(keys, [band], is_copy)

    is_candidate = np.zeros(total, bool)
    for members, _ in buckets():
        is_candidate[members] = True
    candidates = np.flatnonzero(is_candidate)
    with _NgramStore(ledger, parts, candidates, ngram) as store:
        verifier = Verifier(store.sets, threshold)
        for members, bounds in buckets():
            verifier.compare_buckets(np.searchsorted(candidates, members), bounds)
        verifier.compare_crowds()
        edges = np.concatenate([candidates[verifier.edges()], copies.pairs])
        return _write(ledger, parts, edges, copies, store, total)


class _Copies:
    """Documents with the words of another one, each represented by the first of these.

    Args:
        groups: Groups of documents with the same words, as `equal_keys` yields them.
    """

    def __init__(self, groups: Iterable[tuple[Integers, Integers]]) -> None:
        pairs = [np.empty((0, 2), np.int64)]
        for members, bounds in groups:
            first = np.repeat(members[bounds[:-1]], np.diff(bounds))
            pairs.append(np.stack([first, members], axis=1)[first != members])
        every = np.concatenate(pairs)
        self.pairs = every[np.argsort(every[:, 1])]
        """(representative, copy), ascending by copy, (copies, 2)."""

    @property
    def rows(self) -> Integers:
        """The copies, ascending."""
        return self.pairs[:, 1]

    def representatives(self, rows: Integers) -> Integers:
        """Return the representative of each document, itself if it is no copy."""
        at = np.searchsorted(self.rows, rows)
        found = np.append(self.rows, -1)[at] == rows
        return np.where(found, np.append(self.pairs[:, 0], -1)[at], rows)


def _write(
    ledger: Ledger,
    parts: Sequence[Path],
    edges: Integers,
    copies: _Copies,
    store: "_NgramStore",
    total: int,
) -> Bytes:
    """Write the clusters, sorted by kept, then dropped; return the marks."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    marks = np.zeros(total, np.uint8)
    members = np.unique(edges)
    ids = _ids_of(parts, members)
    ends = np.searchsorted(members, edges)
    graph = coo_array(
        (np.ones(len(ends), bool), (ends[:, 0], ends[:, 1])), shape=(len(members),) * 2
    )
    labels = connected_components(graph, directed=False)[1] if len(members) else members
    clusters = pa.table({"label": labels, "id": ids})
    order = pc.sort_indices(clusters, [("label", "ascending"), ("id", "ascending")]).to_numpy()
    is_kept = np.diff(labels[order], prepend=-1) != 0  # each cluster's smallest id comes first
    kept = order[is_kept][np.cumsum(is_kept) - 1][~is_kept]
    dropped = order[~is_kept]
    one, other = (copies.representatives(members[some]) for some in (kept, dropped))
    exact = one == other
    marks[members[dropped]] = np.where(exact, 1, 2)
    alike = np.ones(len(exact))
    for at in np.flatnonzero(~exact):
        alike[at] = jaccard(store.of(one[at]), store.of(other[at]))
    table = pa.table(
        [ids.take(kept), ids.take(dropped), alike, np.where(exact, "exact", "near")], schema=SCHEMA
    )
    with replaced(ledger.out / "clusters.parquet") as partial:
        pq.write_table(
            table.sort_by([("kept", "ascending"), ("dropped", "ascending")]).combine_chunks(),
            partial,
            compression="zstd",
        )
    return marks


def _ids_of(parts: Sequence[Path], rows: Integers) -> pa.Array:
    """Read the ids of some documents, given by ascending row numbers."""
    ids, start = [pa.array([], pa.string())], 0
    for part in parts:
        column = pq.read_table(part, columns=["id"])["id"]
        inside = rows[(rows >= start) & (rows < start + len(column))] - start
        ids += column.take(pa.array(inside)).cast(pa.string()).chunks
        start += len(column)
    return pa.concat_arrays(ids)


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
