"""The list of foreign formats: each path is recognized by one of them, and by the right one."""

import json
from pathlib import Path

import pytest
import torch

from webtext_gpt.checkpoint.load import load
from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.tokenizer import train_bpe
from webtext_gpt.weights import FORMATS, find_format, hugging_face, is_foreign
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
    linear = {"transformer.h.0.attn.c_attn.weight": torch.zeros(3, 1)}
    (tmp_path / "mini").mkdir()
    torch.save(linear, tmp_path / "mini" / "model.pt")
    (tmp_path / "mini" / "config.json").write_text("{}")
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
        "mini": "minGPT",
        "mini/model.pt": "minGPT",
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


POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 548105171\n"


@pytest.mark.parametrize(
    "name",
    [
        *("config.json", "model.safetensors", "pytorch_model.bin", "tokenizer.json"),
        *("model.safetensors.index.json", "ckpt.pt", "model.pt", "vocab.json"),
        *("alone/model.safetensors", "alone/ckpt.pt", "alone/gpt2.bin", "alone/last.ckpt"),
    ],
)
def test_a_pointer_of_git_lfs_is_said_to_be_one(tmp_path: Path, name: str) -> None:
    """In a Hugging Face folder whose other files are there, or as the only file."""
    tokenizer = train_bpe(["a b"], 257)
    model = GPT(GPTConfig(n_layer=1, n_head=1, n_embd=8, block_size=8, vocab_size=257)).eval()
    folder = tmp_path / "folder"
    hugging_face.save(model, tokenizer, folder)
    others = {
        "pytorch_model.bin": ["model.safetensors"],
        "model.safetensors.index.json": ["model.safetensors"],
        "model.pt": ["model.safetensors"],
        "vocab.json": ["tokenizer.json"],
    }
    for absent in others.get(name, []):
        (folder / absent).unlink()
    (folder / "alone").mkdir()
    (folder / name).write_text(POINTER)
    given = folder / name if name.startswith("alone") else folder
    with pytest.raises(UserError, match=rf"{Path(name).name}.* is a Git LFS pointer.*git lfs pull"):
        load(given)
