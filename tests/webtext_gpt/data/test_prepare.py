"""Shards built from a source: the split, the cache, and the tokenizer's training text."""

import functools
import json
from pathlib import Path

import pytest

from webtext_gpt.data.prepare import held_out, prepare_shards
from webtext_gpt.data.shards import TokenShards
from webtext_gpt.data.sources import Files
from webtext_gpt.errors import UserError
from webtext_gpt.tokenizer import build_char_vocabulary, train_bpe

CHARACTERS = functools.partial(build_char_vocabulary)


def _texts(shards: TokenShards, split: str) -> list[str]:
    return [shards.tokenizer.decode(d) for d in shards.split(split).documents()]


def _jsonl(path: Path, texts: list[str]) -> Files:
    path.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    return Files(str(path), val_fraction=0.2)


@pytest.mark.parametrize(
    ("text", "below", "above"),
    [
        ("abc", 0.728, 0.729),  # SHA-256 begins with ba7816bf (FIPS 180-2); 0xba7816bf/2^32=0.7284
        ("", 0.889, 0.890),  # SHA-256 begins with e3b0c442; 0xe3b0c442/2^32=0.8894
    ],
)
def test_a_document_is_held_out_by_its_hash(text: str, below: float, above: float) -> None:
    assert not held_out(text, below)
    assert held_out(text, above)


def test_documents_are_split_by_their_content(tmp_path: Path) -> None:
    texts = [f"document {i}" for i in range(200)]
    recipe = build_char_vocabulary(texts)
    shards = prepare_shards(_jsonl(tmp_path / "a.jsonl", texts), recipe, tmp_path / "cache")
    validation = _texts(shards, "validation")
    assert validation == [t for t in texts if held_out(t, 0.2)]
    assert _texts(shards, "train") == [t for t in texts if not held_out(t, 0.2)]
    assert 20 < len(validation) < 60  # 40 expected, six standard deviations are 34
    backwards = _jsonl(tmp_path / "b.jsonl", [*texts[::-1], "one more"])
    again = prepare_shards(backwards, build_char_vocabulary([*texts, "one more"]), tmp_path / "c")
    assert set(validation) <= set(_texts(again, "validation"))


def test_a_single_text_is_split_at_its_tail(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0123456789" * 10)
    shards = prepare_shards(
        Files(str(tmp_path / "a.txt"), val_fraction=0.1), CHARACTERS, tmp_path / "cache"
    )
    assert _texts(shards, "train") == ["0123456789" * 9]
    assert _texts(shards, "validation") == ["0123456789"]


def test_shards_are_built_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = _jsonl(tmp_path / "a.jsonl", [f"document {i}" for i in range(50)])
    first = prepare_shards(source, functools.partial(train_bpe, vocab_size=270), tmp_path / "cache")
    assert "building token shards, once, in" in capsys.readouterr().out
    again = prepare_shards(source, functools.partial(train_bpe, vocab_size=270), tmp_path / "cache")
    assert again.folder == first.folder
    assert capsys.readouterr().out == ""
    other = prepare_shards(source, functools.partial(train_bpe, vocab_size=280), tmp_path / "cache")
    assert other.folder != first.folder
    assert other.vocab_size == 280


def test_the_tokenizer_learns_from_the_training_split_alone(tmp_path: Path) -> None:
    texts = [f"{i} common words" for i in range(100)]
    held = [t for t in texts if held_out(t, 0.2)]
    texts = [t + (" zyzzyva" * 50 if t in held else "") for t in texts]
    source = _jsonl(tmp_path / "a.jsonl", texts)
    moved = [t for t in texts if held_out(t, 0.2)]
    seen = [t for t in texts if not held_out(t, 0.2)]
    recipe = functools.partial(train_bpe, vocab_size=290)
    shards = prepare_shards(source, recipe, tmp_path / "cache")
    assert shards.tokenizer.hash == train_bpe(seen, vocab_size=290).hash
    assert shards.tokenizer.hash != train_bpe(moved, vocab_size=290).hash


def test_blank_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(" \n \n")
    with pytest.raises(UserError, match="holds no text"):
        prepare_shards(Files(str(tmp_path / "a.txt"), 0.1), CHARACTERS, tmp_path / "cache")
