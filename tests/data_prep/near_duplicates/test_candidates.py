"""Buckets of equal keys, and which pairs in them are compared."""

import random
from collections.abc import Sequence

import numpy as np
import pytest

from data_prep.near_duplicates.candidates import Verifier, equal_values
from data_prep.near_duplicates.sets import Sets, least_size, needed, similar, sketch


def test_positions_of_equal_values() -> None:
    positions, bounds = equal_values(np.array([5, 1, 5, 2, 1, 5]))
    assert (positions.tolist(), bounds.tolist()) == ([1, 4, 0, 2, 5], [0, 2, 5])
    positions, bounds = equal_values(np.array([[1, 2], [2, 1], [1, 2]]))
    assert (positions.tolist(), bounds.tolist()) == ([0, 2], [0, 2])
    positions, bounds = equal_values(np.array([], np.uint64))
    assert (positions.tolist(), bounds.tolist()) == ([], [0])


def sets_of(members: Sequence[Sequence[int]]) -> Sets:
    """Make sets; a member is spread over 64 bits as a hash would be."""
    hashes = [np.sort(np.array([spread(m) for m in set(one)], np.uint64)) for one in members]
    bounds = np.cumsum([0, *map(len, hashes)])
    return Sets(np.concatenate(hashes), bounds, np.stack([sketch(one) for one in hashes]))


def spread(member: int) -> int:
    return random.Random(member).getrandbits(64)


def similarity(one: Sequence[int], other: Sequence[int]) -> float:
    """Jaccard similarity; 0 if both are empty."""
    return len({*one} & {*other}) / max(len({*one} | {*other}), 1)


def components(pairs: Sequence[tuple[int, int]], count: int) -> list[int]:
    """Label each set by the smallest of its component, by repeated relabelling."""
    labels = list(range(count))
    for one, other in pairs:
        old, new = sorted((labels[one], labels[other]))[::-1]
        labels = [new if label == old else label for label in labels]
    return labels


def test_skipping_known_pairs_changes_no_component() -> None:
    """A chain 0-1-2-3 in any order of buckets is one component, though 0 and 3 share little."""
    sets = sets_of([range(n * 2, n * 2 + 20) for n in range(4)])
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        verifier = Verifier(sets, 0.8)
        for at in range(1, 4):
            verifier.compare_buckets(np.array(sorted(order[: at + 1])), np.array([0, at + 1]))
        verifier.compare_crowds()
        assert verifier.edges().tolist() == [[0, 1], [0, 2], [0, 3]]


def test_bounds_of_size_by_hand() -> None:
    """Sets of 9 and 9 are 0.8 similar if they share 8 (8 / 10); 8 is too small for more than 10."""
    assert needed(9, 9, 0.8) == 8
    assert needed(10, 8, 0.8) == 8
    assert needed(5, 5, 1.0) == 5
    assert least_size(10, 0.8) == 8
    assert least_size(11, 0.8) == 9
    assert least_size(1, 0.1) == 1


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.8, 1.0])
def test_similar_is_the_quotient_of_sizes(threshold: float) -> None:
    rng = random.Random(5)
    members = [rng.sample(range(40), rng.randrange(41)) for _ in range(60)]
    members += [members[0][:-1], members[1], [], list(range(1000, 3000)), list(range(1200, 3200))]
    sets = sets_of(members)
    for one in range(len(members)):
        for other in range(one):
            expected = similarity(members[one], members[other]) >= threshold
            assert similar(sets, one, other, threshold) == expected


def framed(rng: random.Random, count: int, frame: int, own: int) -> list[list[int]]:
    return [[*range(frame), *rng.choices(range(frame, 10**6), k=own)] for _ in range(count)]


def chosen(rng: random.Random, count: int, pool: int, share: float) -> list[list[int]]:
    return [[n for n in range(pool) if rng.random() < share] for _ in range(count)]


def clustered(rng: random.Random, count: int, frame: int, own: int) -> list[list[int]]:
    """Make clusters of ten that share `own` members, with some members changed."""
    heads = framed(rng, count // 10, frame, own)
    return [[n if rng.random() > 0.05 else rng.randrange(10**6) for n in head]
            for head in heads for _ in range(10)]  # fmt: skip


@pytest.mark.parametrize(
    "threshold", [*(pytest.param(t, marks=pytest.mark.slow) for t in (0.5, 0.8)), 0.95]
)
@pytest.mark.parametrize("kind", ["frame", "half frame", "dense", "copies", "sizes", "clusters"])
def test_crowds_have_the_components_of_all_pairs(
    kind: str, threshold: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bucket of 120 documents, compared by an index that holds only a few of them."""
    rng = random.Random(7)
    members = {
        "frame": lambda: [*framed(rng, 120, 60, 20), []],
        "half frame": lambda: framed(rng, 60, 50, 50) + chosen(rng, 60, 50, 0.9),
        "dense": lambda: chosen(rng, 120, 80, 0.88),
        "copies": lambda: clustered(rng, 120, 0, 80)[:10] * 3 + clustered(rng, 90, 70, 4),
        "sizes": lambda: [list(range(rng.randrange(1, 400))) for _ in range(120)],
        "clusters": lambda: clustered(rng, 120, 60, 20),
    }[kind]()
    pairs = [
        (a, b)
        for a in range(len(members))
        for b in range(a)
        if similarity(members[a], members[b]) >= threshold
    ]
    expected = components(pairs, len(members))
    sets, everyone = sets_of(members), np.arange(len(members))
    for entries in (50, 1 << 20):
        monkeypatch.setattr("data_prep.near_duplicates.crowds.ENTRIES", entries)
        for crowd in (10, 1000):
            monkeypatch.setattr("data_prep.near_duplicates.candidates.CROWD", crowd)
            verifier = Verifier(sets, threshold)
            verifier.compare_buckets(everyone, np.array([0, len(members)]))
            verifier.compare_crowds()
            found = [(int(a), int(b)) for a, b in verifier.edges()]
            assert components(found, len(members)) == expected
