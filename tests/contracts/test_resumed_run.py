"""Resumed runs: which settings are the run's and which this call's, and what is written again."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from webtext_gpt.checkpoint.store import read_checkpoint
from webtext_gpt.errors import Stopped, UserError
from webtext_gpt.training.callbacks.agreement import Agreement
from webtext_gpt.training.callbacks.interrupt import GracefulInterrupt
from webtext_gpt.training.distributed.launcher import CHOSEN
from webtext_gpt.training.loggers import read_metrics, save_run_id, wandb
from webtext_gpt.training.pretrain import pretrain

REPOSITORY = Path(__file__).parents[2]
Train = Callable[..., dict]


@pytest.fixture
def train(compose: Callable[..., Any], small_run: list[str]) -> Train:
    """`train(*overrides)`: a small run in this process, new or resumed."""
    return lambda *overrides: pretrain(compose("train", *small_run, "resume=auto", *overrides))


def _rows(run: Path, column: str) -> list[float | None]:
    return [row.get(column) for row in read_metrics(run / "metrics.csv")]


def test_a_resumed_run_keeps_its_default_global_batch(
    train: Train, compose: Callable[..., Any], tmp_path: Path
) -> None:
    """16 sequences of 32 tokens; micro-batches of 3 would have made them 18."""
    run = tmp_path / "run"
    train("global_batch_tokens=null", "trainer.max_steps=2")
    assert yaml.safe_load((run / "config.yaml").read_text())["global_batch_tokens"] == 16 * 32
    longer = ["global_batch_tokens=null", "trainer.max_steps=4"]
    with pytest.raises(UserError, match="global_batch_tokens=512 does not divide"):
        train(*longer, "micro_batch_size=3")
    named = compose("train", f"resume={run}", "trainer.max_steps=4", "micro_batch_size=3")
    with pytest.raises(UserError, match="global_batch_tokens=512 does not divide"):
        pretrain(named)
    train(*longer, "micro_batch_size=4")
    assert _rows(run, "tokens") == [512, 1024, 1536, 2048]


@pytest.mark.parametrize("key", ["global_batch_tokens", "seed"])
def test_another_order_of_samples_is_refused(key: str, train: Train) -> None:
    asked = {"global_batch_tokens": 512, "seed": 7}[key]
    theirs = {"global_batch_tokens": 256, "seed": 1337}[key]
    train("trainer.max_steps=2")
    advice = f"but this call has {asked}; set {key}={theirs}"
    with pytest.raises(UserError, match=f"{key}={theirs}.*{advice}"):
        train("trainer.max_steps=4", f"{key}={asked}")


@pytest.mark.slow
@pytest.mark.parametrize("stage", [2, 3])
def test_a_resumed_zero_run_uses_this_calls_optimizer(
    stage: int, small_run: list[str], tmp_path: Path
) -> None:
    zero = [*small_run, "resume=auto", "trainer.devices=2", f"strategy=deepspeed_zero{stage}"]
    command = [sys.executable, str(REPOSITORY / "train.py"), *zero, "scheduler=constant"]
    for changed in (["trainer.max_steps=4"], ["optimizer.lr=1e-5", "optimizer.weight_decay=0.3"]):
        subprocess.run([*command, *changed], check=True, timeout=100, capture_output=True)
    assert _rows(tmp_path / "run", "lr")[2:] == pytest.approx([1e-2, 1e-2, 1e-5, 1e-5])
    saved = tmp_path / "run" / "checkpoints"
    before, after = (read_checkpoint(saved / f"step-0000000{step}.ckpt") for step in (4, 6))
    groups = after["optimizer_states"][0]["param_groups"]
    assert [group["weight_decay"] for group in groups] == [0.3, 0.0]
    name = "model.blocks.0.mlp.c_fc.weight"
    moved = after["state_dict"][name] - before["state_dict"][name]
    assert (
        0 < moved.abs().max() < 2 * 1e-5 * 10
    )  # Adam moves by about lr per step; the old lr: 2e-2


def test_a_resumed_run_uses_this_calls_optimizer(train: Train, tmp_path: Path) -> None:
    """From the first step on: the peak, the schedule over the new length, and the weight decay."""
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
    with pytest.raises(UserError, match="use bf16-mixed or 32-true"):
        train(f"trainer.precision={precision}")


def test_resuming_after_the_last_step_completes_the_run(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    summary = train(f"run_dir={whole}", "trainer.max_steps=4")

    def stop_after_the_last_step(self: GracefulInterrupt, trainer: object, *_: object) -> None:
        if trainer.global_step == 4:
            self._requested = signal.SIGTERM

    with monkeypatch.context() as patched:
        patched.setattr(GracefulInterrupt, "on_validation_epoch_start", stop_after_the_last_step)
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


def test_a_best_model_found_after_resuming_is_kept(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_while_validating(self: GracefulInterrupt, *_: object) -> None:
        self._requested = signal.SIGTERM

    with monkeypatch.context() as patched:
        patched.setattr(GracefulInterrupt, "on_validation_epoch_start", stop_while_validating)
        with pytest.raises(Stopped, match="step 3 is saved"):
            train()
        first = (tmp_path / "run" / "checkpoints" / "last.ckpt").stat().st_ino
        with pytest.raises(Stopped, match="step 3 is saved"):
            train()
        assert (tmp_path / "run" / "checkpoints" / "last.ckpt").stat().st_ino == first
    with monkeypatch.context() as patched:
        patched.setattr(GracefulInterrupt, "on_train_start", stop_at_step_4)
        with pytest.raises(Stopped, match="step 4 is saved"):
            train("optimizer.lr=1e-2")
    saved = tmp_path / "run" / "checkpoints"
    assert (saved / "best.ckpt").readlink() == Path("step-00000003.ckpt")
    best = torch.load(saved / "best.ckpt", weights_only=True)
    assert best["validated_step"] == 3


def stop_at_step_4(self: GracefulInterrupt, trainer: object, *_: object) -> None:
    self._last_step = trainer.global_step
    self._requested = 0
    monitor = type(self)._stop_if_asked

    def stop_at_a_new_step(trainer: object) -> None:
        if trainer.global_step == 4:
            self._requested = signal.SIGTERM
        monitor(self, trainer)

    self._stop_if_asked = stop_at_a_new_step


def test_a_run_of_an_earlier_version_resumes_from_its_only_file(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    saved = tmp_path / "run" / "checkpoints"
    train("trainer.max_steps=4")
    last = torch.load(saved / "last.ckpt", weights_only=True)
    for key in ("validated_step", "validation_metrics", "gradient_norms", "tokens_per_step"):
        del last[key]
    shutil.rmtree(saved)
    saved.mkdir()
    torch.save(last, saved / "last.ckpt")
    before = _rows(tmp_path / "run", "train_loss")
    assert train("trainer.max_steps=6")["step"] == 6
    assert _rows(tmp_path / "run", "train_loss")[:4] == before
    assert "holds no checkpoint" not in capsys.readouterr().out


def test_a_run_without_a_checkpoint_says_that_it_starts_again(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    train("trainer.max_steps=4")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    train("trainer.max_steps=4")
    assert "holds no checkpoint yet; the run starts again at step 0" in capsys.readouterr().out
    assert [row["step"] for row in read_metrics(tmp_path / "run" / "metrics.csv")] == [1, 2, 3, 4]
    assert (tmp_path / "run" / "samples.txt").read_text().count("=== step") == 2


def test_an_incomplete_row_of_metrics_is_dropped(train: Train, tmp_path: Path) -> None:
    train("trainer.max_steps=4")
    metrics = tmp_path / "run" / "metrics.csv"
    metrics.write_bytes(metrics.read_bytes() + b"5,1e-")
    assert _rows(tmp_path / "run", "step") == [1, 2, 3, 4]
    train()
    assert _rows(tmp_path / "run", "step") == [1, 2, 3, 4, 5, 6]


def test_samples_after_the_last_validation_are_dropped(train: Train, tmp_path: Path) -> None:
    train("trainer.max_steps=3")
    samples = tmp_path / "run" / "samples.txt"
    with samples.open("a") as stream:
        stream.write("=== step 6\nwritten by a run that was killed\n\n")
    train()
    text = samples.read_text()
    assert [text.count(f"=== step {step}\n") for step in (3, 6)] == [1, 1]
    assert "killed" not in text


def test_tensorboard_drops_steps_that_are_repeated(train: Train, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train("trainer.max_steps=6", "logger=tensorboard")
    saved = tmp_path / "run" / "checkpoints"
    for path in saved.iterdir():  # killed after step 4 was saved
        if path.name != "step-00000004.ckpt":
            path.unlink()
    (tmp_path / "run" / "summary.json").unlink()
    train("trainer.max_steps=6", "logger=tensorboard")
    record = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert [event.step for event in record.Scalars("train_loss")] == [1, 2, 3, 4, 5, 6]


def test_a_resumed_run_keeps_its_wandb_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    first, other = (wandb(str(tmp_path), "project") for _ in range(2))
    assert first.version != other.version
    save_run_id(first, tmp_path)
    assert wandb(str(tmp_path), "project", first_step=4).version == first.version


@pytest.mark.slow
def test_other_ranks_use_the_checkpoint_that_rank_0_chose(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train("trainer.max_steps=4", "callbacks.checkpoints.keep_last=3")
    monkeypatch.setenv(CHOSEN, str(tmp_path / "run" / "checkpoints" / "step-00000002.ckpt"))
    started: list[int] = []
    monkeypatch.setattr(Agreement, "setup", lambda self, *_, **__: started.append(self.step))
    train("trainer.max_steps=6")
    assert started == [2]


def test_runs_cannot_switch_between_fsdp_and_other_strategies(train: Train, tmp_path: Path) -> None:
    train("trainer.max_steps=4")
    file = (tmp_path / "run" / "checkpoints" / "last.ckpt").resolve()
    torch.save({**torch.load(file, weights_only=True), "fsdp": True}, file)
    with pytest.raises(UserError, match="cannot be carried over between fsdp and others"):
        train()
