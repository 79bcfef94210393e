"""Byte-level BPE: equality with tiktoken, and round trips of text."""

import json
import random
import time
from itertools import pairwise
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, models, pre_tokenizers, trainers

from webtext_gpt.errors import UserError
from webtext_gpt.files import read_text
from webtext_gpt.tokenizer import (
    END_OF_TEXT,
    GPT2_PATTERN,
    Tokenizer,
    build_char_vocabulary,
    load_gpt2,
    train_bpe,
)
from webtext_gpt.tokenizer.training import _cuts

TEXTS = [
    "the cat sat on the mat, the cat's mat",
    "  42 mats\n\nand 3 cats",
    "naïve café ☕ 東京",
] * 20


@pytest.fixture(scope="module")
def trained() -> Tokenizer:
    return train_bpe(TEXTS, vocab_size=280)


@pytest.fixture(scope="module")
def gpt2(realdata: Path) -> Tokenizer:
    return load_gpt2(realdata / "tokenizer")


@pytest.fixture(scope="module")
def tiktoken_gpt2(realdata: Path):
    """tiktoken's encoder from the same published files, with GPT-2's pattern."""
    import tiktoken
    from tiktoken.load import data_gym_to_mergeable_bpe_ranks

    files = realdata / "tokenizer"
    return tiktoken.Encoding(
        "gpt2",
        pat_str=r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        mergeable_ranks=data_gym_to_mergeable_bpe_ranks(
            str(files / "vocab.bpe"), str(files / "encoder.json")
        ),
        special_tokens={END_OF_TEXT: 50256},
    )


@given(st.text())
def test_every_string_survives_the_round_trip(text: str) -> None:
    tokenizer = _small()
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(st.binary())
def test_all_valid_utf8_survives_the_round_trip(data: bytes) -> None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    assert _small().decode(_small().encode(text)).encode() == data


def _small(cache: dict[str, Tokenizer] = {}) -> Tokenizer:  # noqa: B006 - one for all examples
    if not cache:
        cache["bpe"] = train_bpe(TEXTS, vocab_size=300)
    return cache["bpe"]


def test_merges_stay_within_a_category(trained: Tokenizer) -> None:
    tokenizer = train_bpe(["ab1! ab1! ab1! ab1!"] * 50, vocab_size=400)
    tokens = {tokenizer.decode([i]) for i in range(tokenizer.vocab_size)}
    assert " ab" in tokens  # one space may lead
    assert not tokens & {"b1", "ab1", "1!", " ab1", "! "}


def test_vocabulary_has_the_size_asked_for(trained: Tokenizer) -> None:
    assert trained.vocab_size == 280
    assert trained.end_of_text == 279


def test_training_is_deterministic(trained: Tokenizer) -> None:
    assert train_bpe(TEXTS, vocab_size=280).hash == trained.hash


def test_end_of_text_in_a_document_is_text(trained: Tokenizer) -> None:
    ids = trained.encode(f"before {END_OF_TEXT} after")
    assert trained.end_of_text not in ids
    assert trained.decode(ids) == f"before {END_OF_TEXT} after"
    assert trained.decode([trained.end_of_text]) == END_OF_TEXT


def test_save_and_load(trained: Tokenizer, tmp_path: Path) -> None:
    trained.save(tmp_path / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path / "tokenizer.json")
    assert loaded.hash == trained.hash
    assert loaded.encode("the cat's mat 42 ☕") == trained.encode("the cat's mat 42 ☕")


def test_too_small_a_vocabulary_is_refused() -> None:
    with pytest.raises(UserError, match="256 bytes .* at least 257"):
        train_bpe(TEXTS, vocab_size=256)


def test_half_a_surrogate_pair_is_refused(trained: Tokenizer) -> None:
    with pytest.raises(UserError, match="character 2 .* surrogate"):
        trained.encode("ab\ud800")


def test_characters() -> None:
    tokenizer = build_char_vocabulary(["hello\n", "world"])
    assert tokenizer.vocab_size == len(set("hello\nworld")) + 1
    assert tokenizer.encode("\n") == [0]  # code point order
    assert len(tokenizer.encode("hello\n")) == 6
    assert tokenizer.decode(tokenizer.encode("old\nhero")) == "old\nhero"
    with pytest.raises(UserError, match="character 3, 'z'"):
        tokenizer.encode("helz")


@pytest.mark.slow
def test_gpt2_ids_equal_tiktokens_on_real_text(gpt2: Tokenizer, tiktoken_gpt2, realdata) -> None:
    assert gpt2.vocab_size == 50_257
    assert gpt2.end_of_text == 50_256
    files = sorted((realdata / "text").rglob("*.txt"))
    assert len(files) >= 41
    for file in files:
        text = read_text(file)[:250_000]
        assert gpt2.encode(text) == tiktoken_gpt2.encode_ordinary(text), file.name


def test_gpt2_ids_equal_tiktokens_on_random_unicode(gpt2: Tokenizer, tiktoken_gpt2) -> None:
    draw = random.Random(1)
    spaces = " \t\n\r\u00a0\u2003\u3000\x85\x1c\x0b'"

    def character() -> str:
        kind = draw.random()
        if kind < 0.3:
            return draw.choice(spaces)
        if kind < 0.5:
            return chr(draw.randint(33, 126))
        while True:
            code = draw.randint(0, 0x3000 if kind < 0.8 else 0x10FFFF)
            if not 0xD800 <= code <= 0xDFFF:
                return chr(code)

    texts = ["".join(character() for _ in range(draw.randint(0, 60))) for _ in range(5000)]
    for text, ids in zip(texts, gpt2.encode_batch(texts), strict=True):
        assert ids.tolist() == tiktoken_gpt2.encode_ordinary(text), repr(text)
        assert gpt2.decode(ids) == text


def test_a_folder_without_gpt2s_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds neither encoder.json"):
        load_gpt2(tmp_path)


def test_damaged_merges_are_named(tmp_path: Path) -> None:
    (tmp_path / "encoder.json").write_text("{}")
    (tmp_path / "vocab.bpe").write_text("#version: 0.2\na b\nc\n")
    with pytest.raises(UserError, match="vocab.bpe: merge 1 is 'c'"):
        load_gpt2(tmp_path)


def test_bytes_that_are_not_utf8_are_located(tmp_path: Path) -> None:
    (tmp_path / "latin1.txt").write_bytes(b"caf\xe9 au lait")
    with pytest.raises(UserError, match=r"latin1.txt is not UTF-8: byte 0xe9 at position 3"):
        read_text(tmp_path / "latin1.txt")


def _pieces(text: str) -> list[str]:
    split = pre_tokenizers.Split(Regex(GPT2_PATTERN), "isolated")
    return [piece for piece, _ in split.pre_tokenize_str(text)]


@pytest.mark.parametrize(
    "run", ["a", "7", " ", "\n", "=", "\u00e9", "\u65e5", "\U0001f469", "\u0301"]
)
@pytest.mark.parametrize("size", [998, 1000, 1001, 2000, 2001, 12_345])
def test_training_cuts_long_pieces_alone(run: str, size: int) -> None:
    """By the pieces that `tokenizers` finds: those of the parts are the text's, cut."""
    text = f"It's one {run * size} and don't two"
    parts = [text[start:end] for start, end in pairwise([0, *_cuts(text)])]
    assert "".join(parts) == text
    assert all(len(piece) <= 1001 for part in parts for piece in _pieces(part))  # a leading space
    if size == 998:  # with the spaces around it, a run of spaces has 1000
        assert parts == [text]


def test_training_on_a_run_of_one_letter_is_bounded(capsys: pytest.CaptureFixture) -> None:
    """Ten million letters take seconds; uncut, each merge moves all of them."""
    start = time.process_time()
    trained = train_bpe(["a" * 10**7, "some other words " * 9], 300)
    printed = capsys.readouterr()
    assert "run of more than 1,000 letters" in printed.err
    assert printed.out.startswith("tokenizer   learning 300 ids from 10.0 MB of text, ")
    assert time.process_time() - start < 30
    assert trained.decode(trained.encode("aaaa words")) == "aaaa words"


def test_text_without_long_pieces_trains_as_before(
    realdata: Path, recwarn: pytest.WarningsRecorder
) -> None:
    """The merges that `tokenizers` makes of the text as it is."""
    novel = sorted((realdata / "text/novels").glob("*.txt"))[0].read_text()[:200_000]
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    trainer = trainers.BpeTrainer(
        vocab_size=999, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    backend.train_from_iterator([novel], trainer)
    due = json.loads(backend.to_str())["model"]["merges"]
    assert json.loads(train_bpe([novel], 1000).to_json())["model"]["merges"] == due
    assert not recwarn.list


def test_the_bytes_of_every_token_are_those_of_tiktoken(gpt2: Tokenizer, tiktoken_gpt2) -> None:
    for token in range(50_256):
        assert gpt2.token_bytes(token) == tiktoken_gpt2.decode_single_token_bytes(token)
    assert gpt2.token_bytes(50_256) == b""  # end-of-text stands for no part of a text


def test_the_bytes_of_a_text_are_those_of_its_tokens(trained: Tokenizer) -> None:
    text = "naïve 東\x00\n😀"
    assert b"".join(map(trained.token_bytes, trained.encode(text))) == text.encode()
    characters = build_char_vocabulary(["é☃a"])
    assert [characters.token_bytes(token) for token in range(4)] == [
        b"a",
        b"\xc3\xa9",
        b"\xe2\x98\x83",
        b"",
    ]
