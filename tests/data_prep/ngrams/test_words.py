"""Words, compared with `str.lower`, `unicodedata` and a regular expression."""

import unicodedata

import numpy as np
import pyarrow as pa
import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_prep.ngrams.hashing import ngrams
from data_prep.ngrams.word_passes import join_words, word_spans

WORD = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}--[^\p{L}\p{M}\p{N}]]"
    r"|[[\p{L}\p{M}\p{N}]--[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]]+",
    regex.V1,
)


def words_of(text: str) -> list[str]:
    """Implement the definition independently, with a regular expression."""
    return WORD.findall(unicodedata.normalize("NFC", text).lower())


def test_marks_of_unspaced_scripts_are_words_of_their_own() -> None:
    """This holds for marks that NFC reorders too: Thai U+0E38 (class 103), Burmese U+103A (9)."""
    for text, count in (("\u0e01\u0e38ka", 3), ("\u1000\u103a42", 3), ("\u1019\u103a\u1037x", 4)):
        assert np.diff(ngrams(pa.array([text])).word_offsets).tolist() == [count]


def test_long_words_are_hashed_to_their_last_character() -> None:
    words = ["a" * n for n in range(1, 40)] + ["a" * n + "b" for n in range(1, 40)]
    assert len(set(ngrams(pa.array(words)).words.tolist())) == 78


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=60), max_size=6))
@example(["ก่า ka", "か\u3099", "ᄀ\u1161\u11a8", "ΣΑΣ.Σ", "ǅ ß ẞ ﬁ", "a\u0301\u0323", "\u0345x"])
@example(["\u0e38ka \u0e01\u0e38ka", "\u103aka \u1000\u103a9", "\u0eb8ka", "\u17ddka"])
def test_words_match_the_definition(texts: list[str]) -> None:
    grams = ngrams(pa.array(texts, pa.string()))
    assert np.diff(grams.word_offsets).tolist() == [len(words_of(text)) for text in texts]
    flat = [word for text in texts for word in words_of(text)]
    assert len(set(zip(flat, grams.words.tolist(), strict=True))) == len(set(flat))
    for text in texts:
        read, found = word_spans(text)
        data = read.encode()
        assert [data[a:b].decode().lower() for a, b in found] == [w.lower() for w in words_of(text)]
    assert join_words(pa.array(texts, pa.string())).to_pylist() == [
        " ".join(words_of(text)) for text in texts
    ]


def test_a_sliced_array_is_joined_from_its_own_start() -> None:
    texts = pa.array(["zero One", "É one, two", "...", "x"])
    assert join_words(texts.slice(1, 2)).to_pylist() == ["é one two", ""]
    assert join_words(pa.array([], pa.string())).to_pylist() == []
