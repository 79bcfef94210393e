"""What holds when a run is continued: its batch and seed, this call's optimizer, its last step."""

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from webtext_gpt.checkpoint import read_checkpoint
from webtext_gpt.errors import Stopped, UserError
from webtext_gpt.training.callbacks.interrupt import GracefulInterrupt
from webtext_gpt.training.loggers import read_metrics
from webtext_gpt.training.run import pretrain

Train = Callable[..., dict]


@pytest.fixture
def train(compose: Callable[..., DictConfig], small_run: list[str]) -> Train:
    """`train(*overrides)`: a small run in this process, begun or continued."""
    return lambda *overrides: pretrain(compose("train", *small_run, "resume=auto", *overrides))


def _rows(run: Path, column: str) -> list[float | None]:
    return [row.get(column) for row in read_metrics(run / "metrics.csv")]


def test_a_global_batch_left_open_is_that_of_the_run(
    train: Train, compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    """16 sequences of 32 tokens; 3 at a time would have made them 18."""
    run = tmp_path / "run"
    train("global_batch_tokens=null", "trainer.max_steps=2")
    assert OmegaConf.load(run / "config.yaml").global_batch_tokens == 16 * 32
    longer = ["global_batch_tokens=null", "trainer.max_steps=4"]
    with pytest.raises(UserError, match="global_batch_tokens=512 does not divide"):
        train(*longer, "micro_batch_size=3")
    named = compose("train", f"resume={run}", f"run_dir={run}")
    with pytest.raises(UserError, match="global_batch_tokens=512 does not divide"):
        pretrain(named, ["trainer.max_steps=4", "micro_batch_size=3"])
    train(*longer, "micro_batch_size=4")
    assert _rows(run, "tokens") == [512, 1024, 1536, 2048]


@pytest.mark.parametrize("key", ["global_batch_tokens", "seed"])
def test_another_order_of_samples_is_refused(key: str, train: Train) -> None:
    asked = {"global_batch_tokens": 512, "seed": 7}[key]
    theirs = {"global_batch_tokens": 256, "seed": 1337}[key]
    train("trainer.max_steps=2")
    with pytest.raises(UserError, match=f"{key}={theirs}.*but this call {asked}; set {key}="):
        train("trainer.max_steps=4", f"{key}={asked}")


def test_this_calls_optimizer_holds(train: Train, tmp_path: Path) -> None:
    """From the first step on: the peak, the schedule of the new length, and the decay."""
    changed = ["optimizer.lr=1e-5", "optimizer.weight_decay=0.3", "optimizer.betas=[0.8,0.9]"]
    train("trainer.max_steps=4")
    train("trainer.max_steps=8", "scheduler=linear", "scheduler.warmup_steps=2", *changed)
    rates = _rows(tmp_path / "run", "lr")
    assert rates[4:] == pytest.approx([1e-5 * (8 - step) / 6 for step in (4, 5, 6, 7)])
    checkpoint = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")
    decayed, kept = checkpoint["optimizer_states"][0]["param_groups"]
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.3, 0.0)
    assert tuple(decayed["betas"]) == (0.8, 0.9)
    assert decayed["initial_lr"] == 1e-5


@pytest.mark.parametrize("precision", ["16-mixed", "16-true", "16"])
def test_fp16_is_refused(precision: str, train: Train) -> None:
    with pytest.raises(UserError, match="use bf16-mixed, or 32-true"):
        train(f"trainer.precision={precision}")


def test_what_is_missing_after_the_last_step_is_made_up(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    summary = train(f"run_dir={whole}", "trainer.max_steps=4")

    def asked_after_the_last_step(self: GracefulInterrupt, trainer: object, *_: object) -> None:
        if trainer.global_step == 4:
            self._requested = signal.SIGTERM

    with monkeypatch.context() as patched:
        patched.setattr(GracefulInterrupt, "on_validation_epoch_start", asked_after_the_last_step)
        with pytest.raises(Stopped, match="step 4 is saved"):
            train("trainer.max_steps=4")
    assert not (run / "summary.json").exists()
    assert train("trainer.max_steps=4")["val_loss"] == summary["val_loss"]
    assert json.loads((run / "summary.json").read_text())["step"] == 4
    assert (run / "loss.png").exists()
    assert (run / "checkpoints" / "best.ckpt").readlink() == Path("step-00000004.ckpt")
    assert _rows(run, "val_loss") == _rows(whole, "val_loss")

    shutil.rmtree(run / "checkpoints")  # killed between the last checkpoint and the summary
    shutil.copytree(whole / "checkpoints", run / "checkpoints", symlinks=True)
    (run / "summary.json").unlink()
    assert train("trainer.max_steps=4")["val_loss"] == summary["val_loss"]
    capsys.readouterr()
    assert train("trainer.max_steps=4") == {}
    assert "has taken its 4 steps" in capsys.readouterr().out


def test_a_best_model_found_when_continuing_is_kept(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked_while_validating(self: GracefulInterrupt, *_: object) -> None:
        self._requested = signal.SIGTERM

    with monkeypatch.context() as patched:
        patched.setattr(GracefulInterrupt, "on_validation_epoch_start", asked_while_validating)
        with pytest.raises(Stopped, match="step 3 is saved"):
            train()
    with monkeypatch.context() as patched:
        patched.setattr(GracefulInterrupt, "on_train_start", asked_after_a_step)
        with pytest.raises(Stopped, match="step 4 is saved"):
            train("optimizer.lr=1e-2")
    saved = tmp_path / "run" / "checkpoints"
    assert (saved / "best.ckpt").readlink() == Path("step-00000003.ckpt")
    best = torch.load(saved / "best.ckpt", weights_only=True)
    assert best["validated_step"] == 3


def asked_after_a_step(self: GracefulInterrupt, trainer: object, *_: object) -> None:
    self._last_step = trainer.global_step
    self._requested = 0
    monitor = type(self)._stop_if_asked

    def stop_at_a_new_step(trainer: object) -> None:
        if trainer.global_step == 4:
            self._requested = signal.SIGTERM
        monitor(self, trainer)

    self._stop_if_asked = stop_at_a_new_step
