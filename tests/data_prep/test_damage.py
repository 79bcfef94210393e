"""Random damage to filters, shards and manifests: refused by name, or without effect.

Each piece of damage is a flipped bit, an end cut off, a zeroed block or bytes appended. What a
reader then gives is compared with what it gives for the undamaged file.
"""

import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data_prep.ngrams.filter_lookup import open_filter
from data_prep.ngrams.train_filter import build_filter
from data_prep.shards import build_shards
from data_prep.stage.manifest import read_manifest
from data_prep.stage.readers import Layout
from webtext_gpt.data.shards import TokenShards
from webtext_gpt.errors import UserError
from webtext_gpt.tokenizer import train_bpe

from .ngrams.overlaps import sentences

KINDS = ("flip", "cut", "zero", "extend")
ROUNDS = 6
"""Pieces of damage of each kind to each file; six files give 144."""


def damage(data: bytes, kind: str, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    match kind:
        case "flip":
            return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
        case "cut":
            return data[:at]
        case "zero":
            size = rng.randint(1, 600)
            return data[:at] + bytes(len(data[at : at + size])) + data[at + size :]
        case _:
            return data + rng.randbytes(rng.randint(1, 600))


def answers_of_filter(path: Path) -> object:
    asked = np.random.default_rng(0).integers(0, 2**64, 1000, np.uint64)
    bloom = open_filter(path)
    return bloom.contains(asked).tolist(), bloom.added, bloom.room, bloom.words.tobytes()


def tokens_of(folder: Path) -> object:
    """Read what training reads: tokens, documents, sizes and the tokenizer."""
    shards = TokenShards(folder)
    shards.verify()
    found: list[object] = [shards.hash, shards.vocab_size, shards.end_of_text]
    for split in ("train", "validation"):
        stream = shards.split(split)
        found += [stream.read(0, stream.n_tokens).tolist(), stream.n_bytes, stream.n_documents]
        found.append([document.tolist() for document in stream.documents()])
    return found, shards.tokenizer.to_json()


@pytest.fixture
def readers(tmp_path: Path, corpus: Path) -> dict[Path, Callable[[], object]]:
    """Files to damage, each with what is read from it."""
    bloom = tmp_path / "train.bloom"
    build_filter([corpus / "b.jsonl"], Layout(), 300, scratch=tmp_path).save(bloom)
    train_bpe([sentences(n, 200) for n in range(9)], 400).save(tmp_path / "tokenizer.json")
    shards = tmp_path / "shards"
    build_shards([str(corpus)], tmp_path / "tokenizer.json", shards, val_fraction=0.3,
                 workers_at_once=1)  # fmt: skip
    other = tmp_path / "other"  # a manifest alone, as reports and later stages read it
    other.mkdir()
    shutil.copy(shards / "manifest.json", other)
    names = ("tokens-00000.bin", "documents-00000.bin", "tokenizer.json", "manifest.json")
    found: dict[Path, Callable[[], object]] = {bloom: lambda: answers_of_filter(bloom)}
    found |= dict.fromkeys((shards / name for name in names), lambda: tokens_of(shards))
    return found | {other / "manifest.json": lambda: read_manifest(other / "manifest.json")}


def test_no_damage_is_silent(
    readers: dict[Path, Callable[[], object]], capsys: pytest.CaptureFixture[str]
) -> None:
    rng, counts, wrong = random.Random(14), Counter[str](), list[object]()
    for path, read in readers.items():
        data, sound = path.read_bytes(), read()
        for number, kind in enumerate(KINDS * ROUNDS):
            path.write_bytes(damage(data, kind, rng))
            try:
                found = "without effect" if read() == sound else "silent"
            except UserError as error:
                found = "refused by name" if str(path.parent) in str(error) else "without a name"
            counts[found] += 1
            if found in ("silent", "without a name"):
                wrong.append((found, path.name, kind, number))
        path.write_bytes(data)
        assert read() == sound
    with capsys.disabled():
        print(f"\ndamage to {len(readers)} files: {dict(counts)}")
    assert wrong == []
    assert counts["refused by name"] + counts["without effect"] == 24 * len(readers) == 144
    assert counts["refused by name"] > 120
