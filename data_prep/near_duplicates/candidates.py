"""Pairs that may be alike, checked for whether they are: from signatures to edges of a graph."""

from collections.abc import Callable, Iterator

import numpy as np

from data_prep.near_duplicates.ngram_sets import jaccard

_MIX = np.uint64(0x9E3779B97F4A7C15)


def band_keys(signatures: np.ndarray, bands: int) -> np.ndarray:
    """One 64-bit key for each band of MinHash signatures: (N, bands * rows) -> (N, bands)."""
    values = signatures.astype(np.uint64).reshape(len(signatures), bands, -1)
    keys = np.zeros(values.shape[:2], np.uint64)
    for row in range(values.shape[2]):
        keys = (keys ^ values[:, :, row]) * _MIX
        keys ^= keys >> np.uint64(32)
    return keys


def groups_of_equal(keys: np.ndarray) -> Iterator[np.ndarray]:
    """Ascending positions of each value that `keys` (N,) or its rows (N, k) hold more than once."""
    order = np.argsort(keys, kind="stable") if keys.ndim == 1 else np.lexsort(keys.T[::-1])
    ordered = keys[order]
    differs = ordered[1:] != ordered[:-1]
    if keys.ndim > 1:
        differs = differs.any(axis=1)
    starts = np.concatenate(([0], np.flatnonzero(differs) + 1, [len(keys)]))
    for at in np.flatnonzero(np.diff(starts) > 1):
        yield np.sort(order[starts[at] : starts[at + 1]])


class Verifier:
    """Finds which candidates are alike, comparing no pair whose answer is known.

    Two documents already joined, directly or through others, need no comparison: the connected
    components come out as if all pairs had been compared, whatever the order.
    """

    def __init__(self, ngrams: Callable[[int], np.ndarray], threshold: float) -> None:
        self._ngrams, self._threshold = ngrams, threshold
        self._parent: dict[int, int] = {}
        self._apart: set[tuple[int, int]] = set()
        self.edges: list[tuple[int, int]] = []

    def compare_all(self, rows: np.ndarray) -> None:
        """Compare the rows (ascending numbers) of one bucket with one another."""
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
        if smaller < self._threshold * larger:  # they cannot share enough
            return False
        return jaccard(first, second) >= self._threshold

    def _root(self, row: int) -> int:
        parent = self._parent
        while (above := parent.get(row, row)) != row:
            parent[row] = parent.get(above, above)
            row = above
        return row
