"""Checkpoints of one file: written completely or not at all, and refused when damaged."""

import errno
from pathlib import Path

import pytest
import torch

from webtext_gpt.checkpoint.load import describe, load_language_model
from webtext_gpt.checkpoint.store import save_checkpoint
from webtext_gpt.errors import UserError
from webtext_gpt.files import partial_path
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.tokenizer import build_char_vocabulary

CONFIG = GPTConfig(n_layer=1, n_head=1, n_embd=8, block_size=4, vocab_size=4)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[GPT, Path]:
    model = GPT(CONFIG)
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    contents = {"state_dict": weights, **describe(model, build_char_vocabulary(["abc"]))}
    path = tmp_path / "checkpoints" / "last.ckpt"
    save_checkpoint(contents, path)
    return model, path


def test_a_saved_model_loads_unchanged(saved: tuple[GPT, Path]) -> None:
    model, path = saved
    for where in (path, path.parent.parent):  # the file, or the folder of its run
        loaded, tokenizer = load_language_model(where)
        assert loaded.config == CONFIG
        assert not loaded.training
        assert tokenizer.encode("cab") == [2, 0, 1]
        assert loaded.lm_head.weight is loaded.wte.weight
        for name, value in model.state_dict().items():
            assert torch.equal(value, loaded.state_dict()[name])


def test_a_full_disk_leaves_the_earlier_file(
    saved: tuple[GPT, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, path = saved
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: .*last.ckpt"):
        save_checkpoint({"state_dict": {}}, path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_torchs_error_on_a_full_disk_is_translated(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    target = tmp_path / "last.ckpt"
    partial_path(target).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        save_checkpoint({"weights": torch.zeros(10_000)}, target)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.99])
def test_a_checkpoint_cut_short_is_refused(saved: tuple[GPT, Path], keep: float) -> None:
    _, path = saved
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(UserError, match=r"last.ckpt cannot be read as a checkpoint"):
        load_language_model(path)


def test_another_programs_checkpoint_is_refused(tmp_path: Path) -> None:
    torch.save({"model": {}}, tmp_path / "other.ckpt")
    with pytest.raises(UserError, match="not a checkpoint of webtext-gpt"):
        load_language_model(tmp_path / "other.ckpt")
