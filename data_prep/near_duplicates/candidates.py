"""From MinHash signatures to pairs of near-duplicates: bands, buckets, verified candidates."""

import numpy as np
import numpy.typing as npt
from numba import njit

from data_prep.near_duplicates.crowds import join_crowd, join_if_similar
from data_prep.near_duplicates.ngram_sets import MIX
from data_prep.near_duplicates.sets import Sets
from data_prep.ngrams.arrays import Flags, Hashes, Integers

CROWD = 64
"""Maximum documents of a bucket whose pairs are all compared."""


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


def equal_values(keys: npt.NDArray[np.integer]) -> tuple[Integers, Integers]:
    """Group the positions of each value that occurs more than once.

    Args:
        keys: Values (N,), or rows (N, k), which are equal if all k values are.

    Returns:
        The positions, group after group, each ascending, and where each group begins, with the end.
    """
    order = np.argsort(keys, kind="stable") if keys.ndim == 1 else np.lexsort(keys.T[::-1])
    ordered = keys[order]
    differs = ordered[1:] != ordered[:-1]
    if keys.ndim > 1:
        differs = differs.any(axis=1)
    sizes = np.diff(np.concatenate(([0], np.flatnonzero(differs) + 1, [len(keys)])))
    repeated = sizes > 1
    bounds = np.concatenate(([0], np.cumsum(sizes[repeated])))
    return order[np.repeat(repeated, sizes)], bounds


class Verifier:
    """Joins near-duplicates among candidates.

    Sets that are already joined, directly or through others, are not compared. The connected
    components are the same as if all pairs of a bucket were compared, in any order, except that
    similar sets in large buckets are joined even if no bucket holds both.

    Args:
        sets: N-gram sets of the candidates.
        threshold: Minimum Jaccard similarity of near-duplicates.
    """

    def __init__(self, sets: Sets, threshold: float) -> None:
        self._sets, self._threshold = sets, threshold
        self._parents = np.arange(len(sets.sizes))
        self._crowd = np.zeros(len(sets.sizes), bool)

    def compare_buckets(self, members: Integers, bounds: Integers) -> None:
        """Compare all pairs in small buckets, and neighbors in large ones.

        Args:
            members: Numbers of sets, bucket after bucket.
            bounds: Where each bucket begins, and the end, (buckets + 1,).
        """
        _compare_buckets(
            self._sets, members, bounds, self._parents, self._crowd, self._threshold, CROWD
        )

    def compare_crowds(self) -> None:
        """Compare the members of the large buckets, after all buckets were given."""
        join_crowd(self._sets, np.flatnonzero(self._crowd), self._parents, self._threshold)

    def edges(self) -> Integers:
        """Return (representative, member) pairs that connect each component, (pairs, 2)."""
        members = np.flatnonzero(self._parents != np.arange(len(self._parents)))
        return np.stack([self._parents[members], members], axis=1)


@njit(nogil=True, cache=True)
def _compare_buckets(
    sets: Sets, members: Integers, bounds: Integers, parents: Integers, crowd: Flags,
    threshold: float, most: int,
) -> None:  # fmt: skip
    for bucket in range(len(bounds) - 1):
        start, end = bounds[bucket], bounds[bucket + 1]
        large = end - start > most
        for at in range(start, end):
            crowd[members[at]] |= large
            # Neighbors in a large bucket join most true copies, so that few are left to compare.
            for other in range(max(start, at - 1) if large else start, at):
                join_if_similar(sets, members[other], members[at], parents, threshold)
