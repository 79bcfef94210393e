"""De-duplication of real prose with planted edits, compared with all pairs."""

import random
from collections import defaultdict
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import regex
from scipy.cluster.hierarchy import DisjointSet

from data_prep.dedup import deduplicate

PIECES, WORDS, NGRAM = 3000, 200, 5


def pieces(novels: Path) -> list[str]:
    """Cut 3,000 pieces of 200 words: two of three are a copy of an earlier one.

    A copy has a share of its words replaced that leaves 60 to 100 % of the 5-grams, so that the
    similarities lie on both sides of 0.8. Copies of copies make chains.
    """
    rng, originals = random.Random(1), []
    for path in sorted(novels.glob("*.txt")):
        words = path.read_text(errors="replace").split()
        originals += [words[at : at + WORDS] for at in range(0, len(words) - WORDS, WORDS)]
    rng.shuffle(originals)
    made: list[list[str]] = []
    while len(made) < PIECES:
        made.append(originals.pop())
        for _ in range(rng.randrange(5)):
            copy = list(made[-1] if rng.random() < 0.3 else rng.choice(made[-3:]))
            for at in rng.sample(range(len(copy)), rng.randrange(12)):
                copy[at] = rng.choice(originals[0])
            made.append(copy)
    return [" ".join(words) for words in made[:PIECES]]


def ngrams_of(text: str) -> frozenset[tuple[str, ...]]:
    words = regex.findall(r"[\p{L}\p{M}\p{N}]+", text.lower())
    return frozenset(zip(*(words[at:] for at in range(NGRAM)), strict=False))


def similar_pairs(texts: list[str], least: float) -> dict[tuple[int, int], float]:
    """Return all pairs of at least a similarity, by the textbook formula.

    Pairs without a common 5-gram have similarity 0; all others are found through their 5-grams.
    """
    sets, holders = [ngrams_of(text) for text in texts], defaultdict(list)
    for number, grams in enumerate(sets):
        for gram in grams:
            holders[gram].append(number)
    pairs = {pair for some in holders.values() for pair in combinations(some, 2)}
    similarities = {
        (a, b): len(sets[a] & sets[b]) / len(sets[a] | sets[b]) for a, b in sorted(pairs)
    }
    return {pair: value for pair, value in similarities.items() if value >= least}


@pytest.mark.slow
def test_novels_with_planted_edits_have_the_clusters_of_all_pairs(
    tmp_path: Path, realdata: Path
) -> None:
    """MinHash misses a pair of similarity s with probability (1 - s^4)^28: 4e-7 at 0.8.

    With two bands of eight it misses (1 - s^8)^2, and what is found is still never wrong.
    """
    texts = pieces(realdata / "text/novels")
    ids = [f"{number:05d}" for number in range(len(texts))]
    pq.write_table(pa.table({"id": ids, "text": texts}), tmp_path / "d.parquet")
    around = similar_pairs(texts, 0.7)
    pairs = {pair: value for pair, value in around.items() if value >= 0.8}
    close = sum(0.75 <= value < 0.85 for value in around.values())
    assert close > 500
    truth = DisjointSet(range(len(texts)))
    for pair in pairs:
        truth.merge(*pair)

    deduplicate([str(tmp_path / "d.parquet")], tmp_path / "out")
    expected = {(min(c), n) for c in truth.subsets() for n in c if n != min(c)}
    assert found_in(tmp_path / "out") == expected

    deduplicate([str(tmp_path / "d.parquet")], tmp_path / "few", bands=2, rows=8, split=1)
    found = DisjointSet(range(len(texts)))
    for kept, dropped in found_in(tmp_path / "few"):
        assert truth.connected(kept, dropped)
        found.merge(kept, dropped)
    joined = sum(found.connected(*pair) for pair in pairs)
    by_curve = sum(1 - (1 - value**8) ** 2 for value in pairs.values())
    print(
        f"{len(texts)} documents, {len(pairs)} pairs of at least 0.8, {close} within 0.05 of it; "
        f"{len(expected)} copies dropped, as by all pairs; with 2 bands of 8, {joined} pairs "
        f"joined, of which {by_curve:.0f} are expected by themselves"
    )
    assert joined >= by_curve - 3 * by_curve**0.5  # more, because chains join others


def found_in(out: Path) -> set[tuple[int, int]]:
    rows: list[dict[str, Any]] = pq.read_table(out / "clusters.parquet").to_pylist()
    return {(int(row["kept"]), int(row["dropped"])) for row in rows}
