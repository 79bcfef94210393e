"""N-gram sets and their similarity, compared with hand counts and the textbook formula."""

import pyarrow as pa

from data_prep.near_duplicates.ngram_sets import jaccard, ngram_sets

from .documents import made_up, plain_jaccard


def test_ngram_sets_by_hand() -> None:
    """`a b c a b c` has ab, bc, ca; `b a` has ba alone; `a b c` shares ab and bc."""
    sets = ngram_sets(pa.array(["a b c a b c", "b a", "a b c", "", "a"]), 2)
    assert [len(s) for s in sets] == [3, 1, 2, 0, 1]
    assert jaccard(sets[0], sets[2]) == 2 / 3
    assert jaccard(sets[0], sets[1]) == 0
    assert jaccard(sets[3], sets[3]) == 0


def test_similarity_equals_the_textbook_formula() -> None:
    rows = made_up(20)
    texts = [row["text"] for row in rows]
    sets = ngram_sets(pa.array(texts), 5)
    for one, other in [(0, 20), (10, 21), (1, 2)]:
        assert jaccard(sets[one], sets[other]) == plain_jaccard(texts[one], texts[other])
