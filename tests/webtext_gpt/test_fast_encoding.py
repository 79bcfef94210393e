"""The fast encoder gives the ids of `tokenizers`, on any text and any vocabulary."""

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from webtext_gpt.errors import UserError
from webtext_gpt.fast_encoding import _mergeable_ranks, fast_encoder
from webtext_gpt.tokenizer import (
    END_OF_TEXT,
    Tokenizer,
    build_char_vocabulary,
    load_gpt2,
    train_bpe,
)

ODD = [
    "", " ", "\n\n  a\t b ", f"before{END_OF_TEXT}after {END_OF_TEXT}", "it's WE'LL don\u2019t",
    "naïve café — “quotes” …", "日本語のテキスト", "👩‍👩‍👧 é\u0301 \u200b\ufeff", "a" * 3000,
    "\u00a0\u2003x\x1c\x85 y", "1234567890 3.14 ½ ²", "مرحبا بالعالم",
    "\x00\x01\x7f", " " * 500 + "x",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(prose: str) -> Tokenizer:
    return train_bpe([prose, " ".join(ODD), prose[::-1]], 900)


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
@example(text=ODD[1])
def test_any_text_of_a_trained_vocabulary(text: str, trained: Tokenizer) -> None:
    assert fast_encoder(trained)(text).tolist() == trained.encode(text)


@pytest.mark.parametrize("text", ODD)
def test_odd_texts(text: str, trained: Tokenizer) -> None:
    assert _mergeable_ranks(trained) is not None
    assert fast_encoder(trained)(text).tolist() == trained.encode(text)


def test_gpt2s_vocabulary_on_real_text(realdata: Path) -> None:
    gpt2 = load_gpt2(realdata / "tokenizer")
    assert _mergeable_ranks(gpt2) is not None
    encode = fast_encoder(gpt2)
    novel = sorted((realdata / "text/novels").glob("*.txt"))[0].read_text()[:300_000]
    wiki = (realdata / "evalsets/wikitext2_test.raw").read_text()[:300_000]
    for text in (novel, wiki, *ODD):
        assert encode(text).tolist() == gpt2.encode(text)


def test_a_vocabulary_of_real_text_on_other_text(realdata: Path) -> None:
    novels = sorted((realdata / "text/novels").glob("*.txt"))[:2]
    own = train_bpe([novels[0].read_text()], 4000)
    text = novels[1].read_text()[:500_000]
    assert _mergeable_ranks(own) is not None
    assert fast_encoder(own)(text).tolist() == own.encode(text)


def test_a_million_spaces_go_the_slow_way(trained: Tokenizer) -> None:
    text = " " * 1_000_000
    assert fast_encoder(trained)(text).tolist() == trained.encode(text)


def test_half_of_a_surrogate_pair_is_refused(trained: Tokenizer) -> None:
    with pytest.raises(UserError, match="character 1 is half of a surrogate pair"):
        fast_encoder(trained)("a\ud800")


def test_other_kinds_of_vocabulary_go_the_slow_way() -> None:
    characters = build_char_vocabulary(["abc"])
    assert _mergeable_ranks(characters) is None
    assert fast_encoder(characters)("cab").tolist() == [2, 0, 1]
