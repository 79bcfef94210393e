"""From MinHash signatures to pairs of near-duplicates: bands, buckets, verified candidates."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from data_prep.near_duplicates.ngram_sets import MIX, jaccard
from data_prep.ngrams.arrays import Hashes


def band_keys(signatures: npt.NDArray[np.integer], bands: int) -> Hashes:
    """Return a 64-bit key for each band of MinHash signatures, (N, bands).

    Args:
        signatures: Minima of N documents, (N, bands * rows).
        bands: Number of bands.
    """
    values = signatures.astype(np.uint64).reshape(len(signatures), bands, -1)
    keys = np.zeros(values.shape[:2], np.uint64)
    for row in range(values.shape[2]):
        keys = (keys ^ values[:, :, row]) * MIX
        keys ^= keys >> np.uint64(32)
    return keys


def groups_of_equal(keys: npt.NDArray[np.integer]) -> Iterator[npt.NDArray[np.intp]]:
    """Yield the positions, ascending, of each value that occurs more than once.

    Args:
        keys: Values (N,), or rows (N, k), which are equal if all k values are.
    """
    order = np.argsort(keys, kind="stable") if keys.ndim == 1 else np.lexsort(keys.T[::-1])
    ordered = keys[order]
    differs = ordered[1:] != ordered[:-1]
    if keys.ndim > 1:
        differs = differs.any(axis=1)
    starts = np.concatenate(([0], np.flatnonzero(differs) + 1, [len(keys)]))
    for at in np.flatnonzero(np.diff(starts) > 1):
        yield np.sort(order[starts[at] : starts[at + 1]])


class Verifier:
    """Finds the near-duplicates among candidates, skipping pairs whose result is known.

    Two documents that are already joined, directly or through others, are not compared. The
    connected components are the same as if all pairs were compared, in any order.

    Args:
        ngrams: Returns the n-gram set of a document, by its row number.
        threshold: Minimum Jaccard similarity of near-duplicates.
    """

    def __init__(self, ngrams: Callable[[int], Hashes], threshold: float) -> None:
        self._ngrams, self._threshold = ngrams, threshold
        self._parent: dict[int, int] = {}
        self._apart: set[tuple[int, int]] = set()
        self.edges: list[tuple[int, int]] = []

    def compare_all(self, rows: npt.NDArray[np.integer]) -> None:
        """Compare all pairs of documents in one bucket, given by ascending row numbers."""
        members = rows.tolist()
        for at, other in enumerate(members):
            for one in members[:at]:
                root, other_root = self._root(one), self._root(other)
                if root == other_root or (one, other) in self._apart:
                    continue
                if self._alike(one, other):
                    self._parent[max(root, other_root)] = min(root, other_root)
                    self.edges.append((one, other))
                else:
                    self._apart.add((one, other))

    def _alike(self, one: int, other: int) -> bool:
        first, second = self._ngrams(one), self._ngrams(other)
        smaller, larger = sorted((len(first), len(second)))
        if smaller < self._threshold * larger:  # too different in size to share enough
            return False
        return jaccard(first, second) >= self._threshold

    def _root(self, row: int) -> int:
        parent = self._parent
        while (above := parent.get(row, row)) != row:
            parent[row] = parent.get(above, above)
            row = above
        return row
