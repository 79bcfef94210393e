"""8-grams and their hashes."""

import numpy as np
import pyarrow as pa
import pytest

from data_prep.ngrams.hashing import NGRAM, check_hashes, ngrams


def test_the_papers_normalization() -> None:
    grams = ngrams(pa.array(["It's 42 -- isn't IT? Über_alles", "it s 42\nisn t it über alles"]))
    assert np.diff(grams.word_offsets).tolist() == [8, 8]
    assert grams.hashes[0] == grams.hashes[1]
    assert len(grams.hashes) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("caf\u00e9 " * 8, "CAFE\u0301 " * 8),  # composed and decomposed
        ("\u0130stanbul " * 8, "i\u0307stanbul " * 8),  # lower case of two characters
        ("\u039f\u0394\u039f\u03a3 " * 8, "\u03bf\u03b4\u03bf\u03c2 " * 8),  # final sigma
        ("\u65e5\u672c\u8a9e\u306e\u6587\u7ae0\u3067\u3059", "日 本 語 の 文 章 で す"),
    ],
)
def test_one_text_written_in_two_ways(one: str, other: str) -> None:
    grams = ngrams(pa.array([one, other]))
    assert grams.hashes[0] == grams.hashes[-1]
    assert len(grams.hashes) == 2


def test_the_order_and_every_word_matter() -> None:
    plain = ["a", "b", "c", "d", "e", "f", "g", "h"]
    swapped = [[*plain[:i], plain[j], *plain[i + 1 : j], plain[i], *plain[j + 1 :]]
               for i in range(8) for j in range(i + 1, 8)]  # fmt: skip
    changed = [[*plain[:i], "x", *plain[i + 1 :]] for i in range(8)]
    texts = [" ".join(w) for w in [plain, *swapped, *changed, [*plain[:6], "gh", "h"]]]
    assert len(set(ngrams(pa.array(texts)).hashes.tolist())) == len(texts)


def test_no_8_gram_spans_two_texts() -> None:
    grams = ngrams(pa.array(["a b c d", "e f g h", "", "a b c d e f g h i"]))
    assert np.diff(grams.offsets).tolist() == [0, 0, 0, 2]
    assert len(ngrams(pa.array([], pa.string())).hashes) == 0


def test_a_sliced_array_is_read_from_its_own_start() -> None:
    texts = pa.array(["zero one two", "é one two three four five six seven", "x"])
    assert (ngrams(texts.slice(1, 1)).hashes == ngrams(texts).hashes).all()


def test_the_second_hash_distinguishes_8_grams() -> None:
    grams = ngrams(pa.array([" ".join(map(str, range(1000)))]))
    at = np.arange(1000 - NGRAM + 1)
    checks = check_hashes(grams.words, at)
    assert len(set(checks.tolist())) == len(at)
    again = check_hashes(ngrams(pa.array(["5 6 7 8 9 10 11 12"])).words, np.array([0]))
    assert again[0] == checks[5]
