"""The fast encoder gives the same ids as `tokenizers`, for any text and vocabulary."""

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from webtext_gpt.data.encoding import FastEncoder
from webtext_gpt.errors import UserError
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


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return FastEncoder(tokenizer).encode_batch([text])[0].tolist()


@pytest.fixture(scope="module")
def trained(prose: str) -> Tokenizer:
    return train_bpe([prose, " ".join(ODD), prose[::-1]], 900)


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
@example(text=ODD[1])
def test_any_text_gets_the_ids_of_tokenizers(text: str, trained: Tokenizer) -> None:
    assert ids(trained, text) == trained.encode(text)


@pytest.mark.parametrize("text", ODD)
def test_odd_texts_get_the_ids_of_tokenizers(text: str, trained: Tokenizer) -> None:
    assert FastEncoder(trained).is_fast
    assert ids(trained, text) == trained.encode(text)


@pytest.mark.slow
def test_gpt2s_vocabulary_on_real_text(realdata: Path) -> None:
    gpt2 = load_gpt2(realdata / "tokenizer")
    assert FastEncoder(gpt2).is_fast
    novel = sorted((realdata / "text/novels").glob("*.txt"))[0].read_text()[:300_000]
    wiki = (realdata / "evalsets/wikitext2_test.raw").read_text()[:300_000]
    for text in (novel, wiki, *ODD):
        assert ids(gpt2, text) == gpt2.encode(text)


def test_a_vocabulary_of_real_text_on_other_text(realdata: Path) -> None:
    novels = sorted((realdata / "text/novels").glob("*.txt"))[:2]
    own = train_bpe([novels[0].read_text()], 4000)
    text = novels[1].read_text()[:500_000]
    assert FastEncoder(own).is_fast
    assert ids(own, text) == own.encode(text)


@pytest.mark.parametrize("piece", [" ", "a", "\u00e9", "."])
@pytest.mark.parametrize("count", [29, 30, 31, 32, 33, 255, 256, 257, 1_000_000])
def test_long_pieces_get_the_ids_of_tokenizers(piece: str, count: int, trained: Tokenizer) -> None:
    text = f"x{piece * count} y"
    assert ids(trained, text) == trained.encode(text)


@pytest.mark.slow
def test_long_pieces_without_a_pattern_get_the_ids_of_tokenizers(realdata: Path) -> None:
    """Random letters, emoji and bytes: merges in every order, with equal ranks and stale pairs."""
    gpt2, drawn = load_gpt2(realdata / "tokenizer"), random.Random(0)
    for alphabet in ("ab", "etaoinshrdlu", "👩👧‍", "-=*", " \n\t", "\x00\x01\x7f", "日本語"):
        for count in (40, 300, 10_000):
            text = f"some {''.join(drawn.choices(alphabet, k=count))} text"
            assert ids(gpt2, text) == gpt2.encode(text)


def test_pieces_that_share_a_slot_of_the_cache_are_told_apart(
    trained: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a single slot, every other piece of the same hash bits is compared with it by bytes."""
    from webtext_gpt.data import bpe_loops

    one_slot = np.zeros((1, 8), np.uint64)
    every = np.lib.stride_tricks.as_strided(
        one_slot, (1 << bpe_loops.CACHE_BITS, 8), (0, one_slot.strides[1])
    )
    monkeypatch.setattr(bpe_loops, "empty_cache", lambda: every)
    drawn = random.Random(2)
    words = ["".join(drawn.choices("ab\0 é", k=drawn.randint(1, 30))) for _ in range(2000)]
    text = "|".join(words + words)
    assert ids(trained, text) == trained.encode(text)


def test_a_long_word_does_not_slow_a_text_down(cases: Path, trained: Tokenizer, prose: str) -> None:
    """Bytes per CPU second with and without the word; 30 times slower before. Ids are the same."""
    text = (cases / "text/long_word.txt").read_text() * 40
    without = (prose * (1 + len(text) // len(prose)))[: len(text)]
    encoder = FastEncoder(trained)

    def seconds(one: str) -> float:
        taken = []
        for _ in range(5):
            start = time.process_time()
            encoder.encode_batch([one])
            taken.append(time.process_time() - start)
        return min(taken)

    assert ids(trained, text) == trained.encode(text)
    assert seconds(text) < 5 * seconds(without)


def test_characters_of_every_kind_next_to_each_other(trained: Tokenizer) -> None:
    """Random contractions, spaces of every kind, recent letters, marks and digits."""
    drawn = random.Random(0)
    alphabet = " \t\n\r'stlervmdSTL\xa0\u2003\x85\x1c\u3000\xe9\u0301\u0660\u4e00\u200d-!5\xb2"
    alphabet += "".join(map(chr, (0x1E4D0, 0x10D40, 0x2EBF0, 0x1F469, 0x1D7D8, 0xE0100, 0x10FFFD)))
    texts = ["".join(drawn.choices(alphabet, k=drawn.randint(1, 40))) for _ in range(3000)]
    found, due = FastEncoder(trained).encode_batch(texts), trained.encode_batch(texts)
    assert [one.tolist() for one in found] == [other.tolist() for other in due]


def test_the_cache_is_shared_by_batches(trained: Tokenizer, prose: str) -> None:
    encoder = FastEncoder(trained)
    texts = [prose[at : at + 97] for at in range(0, 9700, 97)] + ["", prose]
    for _ in range(2):
        found = encoder.encode_batch(texts)
        assert [f.tolist() for f in found] == [trained.encode(text) for text in texts]


def test_half_of_a_surrogate_pair_is_refused(trained: Tokenizer) -> None:
    with pytest.raises(UserError, match="character 1 is half of a surrogate pair"):
        ids(trained, "a\ud800")


def test_other_kinds_of_vocabulary_are_not_sped_up() -> None:
    characters = build_char_vocabulary(["abc"])
    assert not FastEncoder(characters).is_fast
    assert ids(characters, "cab") == [2, 0, 1]


def altered(tokenizer: Tokenizer, change: Callable[[dict[str, Any]], Any]) -> Tokenizer:
    plain = json.loads(tokenizer.to_json())
    change(plain)
    return Tokenizer.from_json(json.dumps(plain))


def split_of(plain: dict[str, Any]) -> dict[str, Any]:
    return plain["pre_tokenizer"]["pretokenizers"][0]


@pytest.mark.parametrize("trim", [True, False])
def test_byte_level_with_its_own_expression_is_gpt2s(trained: Tokenizer, trim: bool) -> None:
    """GPT-2's `tokenizer.json` on the hub has this form."""
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": trim,
             "use_regex": True}  # fmt: skip
    hub = altered(trained, lambda plain: plain.update(pre_tokenizer=level, post_processor=level))
    assert FastEncoder(hub).is_fast
    drawn = random.Random(1)
    alphabet = " \t\n'stlervmdST\xa0\u2003\x85\xe9\u0301\u0660\u4e00\u200d-!5\xb2"
    texts = ODD + ["".join(drawn.choices(alphabet, k=30)) for _ in range(1000)]
    found, due = FastEncoder(hub).encode_batch(texts), hub.encode_batch(texts)
    assert [one.tolist() for one in found] == [other.tolist() for other in due]


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "an added token that is not special": lambda p: p["added_tokens"][0].update(special=False),
    "truncation": lambda p: p.update(
        truncation={"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    ),
    "padding": lambda p: p.update(
        padding={"strategy": {"Fixed": 40}, "direction": "Right", "pad_to_multiple_of": None,
                 "pad_id": 0, "pad_type_id": 0, "pad_token": "!"}
    ),
    "pieces joined to the next": lambda p: split_of(p).update(behavior="MergedWithNext"),
    "pieces removed": lambda p: split_of(p).update(behavior="Removed"),
    "text between the pieces": lambda p: split_of(p).update(behavior="Removed", invert=True),
    "a leading space": lambda p: p.update(
        pre_tokenizer={"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True,
                       "use_regex": True}
    ),
    "no expression": lambda p: p.update(
        pre_tokenizer={"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                       "use_regex": False}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_tokenizer_that_differs_from_gpt2_keeps_its_own_ids(
    trained: Tokenizer, name: str
) -> None:
    other = altered(trained, CHANGES[name])
    for text in (f"one, two{END_OF_TEXT} three", "a b  c d e f g h", ""):
        assert ids(other, text) == other.encode(text)
    assert not FastEncoder(other).is_fast
