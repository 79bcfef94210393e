"""Normalisation and 8-grams, beside `str.lower`, `unicodedata` and a regular expression."""

import unicodedata

import numpy as np
import pyarrow as pa
import pytest
import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_prep.ngrams.hashing import NGRAM, check_hashes, ngrams, spans

WORD = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}--[^\p{L}\p{M}\p{N}]]"
    r"|[[\p{L}\p{M}\p{N}]--[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]]+",
    regex.V1,
)


def words_of(text: str) -> list[str]:
    """The rule as it is written, with another implementation."""
    return WORD.findall(unicodedata.normalize("NFC", text).lower())


def test_the_papers_normalisation() -> None:
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


def test_marks_of_unspaced_scripts_are_words_of_their_own() -> None:
    """Also those that NFC moves: Thai U+0E38 (class 103), Burmese U+103A (9)."""
    for text, count in (("\u0e01\u0e38ka", 3), ("\u1000\u103a42", 3), ("\u1019\u103a\u1037x", 4)):
        assert np.diff(ngrams(pa.array([text])).word_offsets).tolist() == [count]


def test_order_and_every_word_count() -> None:
    plain = ["a", "b", "c", "d", "e", "f", "g", "h"]
    swapped = [[*plain[:i], plain[j], *plain[i + 1 : j], plain[i], *plain[j + 1 :]]
               for i in range(8) for j in range(i + 1, 8)]  # fmt: skip
    changed = [[*plain[:i], "x", *plain[i + 1 :]] for i in range(8)]
    texts = [" ".join(w) for w in [plain, *swapped, *changed, [*plain[:6], "gh", "h"]]]
    assert len(set(ngrams(pa.array(texts)).hashes.tolist())) == len(texts)


def test_long_words_count_to_their_last_character() -> None:
    words = ["a" * n for n in range(1, 40)] + ["a" * n + "b" for n in range(1, 40)]
    assert len(set(ngrams(pa.array(words)).words.tolist())) == 78


def test_texts_do_not_run_into_one_another() -> None:
    grams = ngrams(pa.array(["a b c d", "e f g h", "", "a b c d e f g h i"]))
    assert np.diff(grams.offsets).tolist() == [0, 0, 0, 2]
    assert len(ngrams(pa.array([], pa.string())).hashes) == 0


def test_a_sliced_array_is_read_where_it_begins() -> None:
    texts = pa.array(["zero one two", "é one two three four five six seven", "x"])
    assert (ngrams(texts.slice(1, 1)).hashes == ngrams(texts).hashes).all()


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=60), max_size=6))
@example(["ก่า ka", "か\u3099", "ᄀ\u1161\u11a8", "ΣΑΣ.Σ", "ǅ ß ẞ ﬁ", "a\u0301\u0323", "\u0345x"])
@example(["\u0e38ka \u0e01\u0e38ka", "\u103aka \u1000\u103a9", "\u0eb8ka", "\u17ddka"])
def test_words_are_those_of_the_rule(texts: list[str]) -> None:
    grams = ngrams(pa.array(texts, pa.string()))
    assert np.diff(grams.word_offsets).tolist() == [len(words_of(text)) for text in texts]
    flat = [word for text in texts for word in words_of(text)]
    assert len(set(zip(flat, grams.words.tolist(), strict=True))) == len(set(flat))
    for text in texts:
        read, found = spans(text)
        data = read.encode()
        assert [data[a:b].decode().lower() for a, b in found] == [w.lower() for w in words_of(text)]


def test_a_second_hash_tells_8_grams_apart() -> None:
    grams = ngrams(pa.array([" ".join(map(str, range(1000)))]))
    at = np.arange(1000 - NGRAM + 1)
    checks = check_hashes(grams.words, at)
    assert len(set(checks.tolist())) == len(at)
    again = check_hashes(ngrams(pa.array(["5 6 7 8 9 10 11 12"])).words, np.array([0]))
    assert again[0] == checks[5]
