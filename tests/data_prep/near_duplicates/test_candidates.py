"""Buckets of equal keys, and which pairs in them are compared."""

import numpy as np

from data_prep.near_duplicates.candidates import Verifier, groups_of_equal


def test_groups_of_equal() -> None:
    assert [g.tolist() for g in groups_of_equal(np.array([5, 1, 5, 2, 1, 5]))] == [
        [1, 4],
        [0, 2, 5],
    ]
    assert [g.tolist() for g in groups_of_equal(np.array([[1, 2], [2, 1], [1, 2]]))] == [[0, 2]]
    assert list(groups_of_equal(np.array([], np.uint64))) == []


def test_skipping_known_pairs_changes_no_component() -> None:
    """A chain 0-1-2-3 in any order of buckets is one component, though 0 and 3 share nothing."""
    sets = {n: np.arange(n * 2, n * 2 + 20, dtype=np.uint64) for n in range(4)}
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        verifier = Verifier(sets.__getitem__, 0.8)
        verifier.compare_all(np.array(sorted(order)))
        assert sorted(verifier.edges) == [(0, 1), (1, 2), (2, 3)]
