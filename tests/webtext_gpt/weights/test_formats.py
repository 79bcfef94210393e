"""The list of foreign formats: each path is recognized by one of them, and by the right one."""

import json
from pathlib import Path

import pytest
import torch

from webtext_gpt.errors import UserError
from webtext_gpt.weights import FORMATS, find_format, is_foreign
from webtext_gpt.weights.foreign import ForeignPath


def _name(path: Path | str) -> str | None:
    format_ = find_format(ForeignPath(path))
    return format_.name if format_ else None


def test_every_kind_of_path_has_its_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "hf"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (tmp_path / "nano").mkdir()
    torch.save({"model": {}, "model_args": {}}, tmp_path / "nano" / "ckpt.pt")
    torch.save({"model": {}, "model_args": {}}, tmp_path / "other_name.pt")
    torch.save({"wte.weight": torch.zeros(1, 1)}, tmp_path / "gpt2.bin")
    (tmp_path / "ours.ckpt").touch()
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    monkeypatch.chdir(tmp_path)
    expected = {
        "hf": "Hugging Face",
        "openai-community/gpt2": "Hugging Face",
        "gpt2": "Hugging Face",
        "nano": "nanoGPT",
        "nano/ckpt.pt": "nanoGPT",
        "other_name.pt": "nanoGPT",
        "gpt2.bin": "GPT-2's first releases",
        "ours.ckpt": None,
        "run": None,
        "missing": None,
        "hf/missing": None,  # `hf` exists, so this is not a name on the hub
    }
    for path, name in expected.items():
        assert _name(path) == name, path
        assert is_foreign(path) == (name is not None)


def test_a_file_is_read_once_to_recognize_and_load_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"other": torch.zeros(1)}, tmp_path / "gpt2.bin")
    reads, read = [], torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: (reads.append(a), read(*a, **k))[1])
    path = ForeignPath(tmp_path / "gpt2.bin")
    format_ = find_format(path)
    assert format_ is not None
    with pytest.raises(UserError, match="holds neither a checkpoint"):
        format_.load(path, None)
    assert len(reads) == 1


def test_one_format_can_be_written() -> None:
    """`convert` writes the first one that can, whatever the name of `out`."""
    assert [format_.name for format_ in FORMATS if format_.save] == ["Hugging Face"]
