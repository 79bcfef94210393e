"""Contract 6 on one process: interrupted and resumed equals uninterrupted."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from webtext_gpt import cli
from webtext_gpt.checkpoint.store import read_checkpoint
from webtext_gpt.errors import Stopped, UserError
from webtext_gpt.training.callbacks.interrupt import GracefulInterrupt
from webtext_gpt.training.loggers import read_metrics
from webtext_gpt.training.pretrain import pretrain

REPOSITORY = Path(__file__).parents[2]
TRAIN = [sys.executable, str(REPOSITORY / "train.py")]
Call = Callable[..., subprocess.CompletedProcess[str]]


def _finished(run: Path) -> tuple[list[tuple[float, float]], dict[str, torch.Tensor]]:
    losses = [(m["step"], m["train_loss"]) for m in read_metrics(run / "metrics.csv") if m["step"]]
    return losses, read_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"]


@pytest.mark.slow
def test_ctrl_c_saves_and_the_resumed_run_equals_an_uninterrupted_one(
    small_run: list[str], tmp_path: Path
) -> None:
    long_run = [o for o in small_run if not o.startswith(("trainer.max_steps", "run_dir"))]
    long_run += ["trainer.max_steps=300", "validate_every=90", "model.resid_dropout=0.1"]
    subprocess.run([*TRAIN, *long_run, f"run_dir={tmp_path / 'whole'}"], check=True, timeout=300)

    run = tmp_path / "interrupted"
    process = subprocess.Popen(
        [*TRAIN, *long_run, f"run_dir={run}"], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 200
    while not (run / "checkpoints" / "last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=100)
    assert process.returncode == 1
    assert f"python train.py resume={run}" in stderr
    assert "Traceback" not in stderr
    stopped_at = read_checkpoint(run / "checkpoints" / "last.ckpt")["global_step"]
    assert 2 <= stopped_at < 300

    subprocess.run([*TRAIN, f"resume={run}"], check=True, timeout=300)
    losses, weights = _finished(run)
    expected_losses, expected_weights = _finished(tmp_path / "whole")
    assert [step for step, _ in losses] == list(range(1, 301))
    assert losses == expected_losses
    assert weights.keys() == expected_weights.keys()
    for name, value in weights.items():
        assert torch.equal(value, expected_weights[name]), name


def test_a_finished_run_is_neither_overwritten_nor_resumed_as_another(
    small_run: list[str], call: Call, tmp_path: Path
) -> None:
    """Each refusal leaves every file of the run as it was."""
    run = tmp_path / "run"
    assert call("train.py", *small_run).returncode == 0
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for arguments, message in (
        (small_run, "already holds a run; resume it with resume="),
        ([f"resume={run}", "model.n_layer=3"], "the run to resume has another model_config"),
        (
            [f"resume={run}", "model=small"],
            "a resumed run keeps its groups; leave model= out and change single keys (model.KEY=",
        ),
        ([f"resume={run}", "tokenizer.vocab_size=270"], "tokenizer and another corpus"),
    ):
        refused = call("train.py", *arguments)
        assert refused.returncode == 1
        assert message in refused.stderr
        assert "Traceback" not in refused.stderr
        assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_moved_run_resumes_with_another_micro_batch(
    small_run: list[str], call: Call, tmp_path: Path
) -> None:
    """In its new place, with keys of its own groups, and with the same global batches."""
    base = [o for o in small_run if not o.startswith(("run_dir", "trainer.max_steps"))]
    base += ["scheduler=constant", "scheduler.warmup_steps=2"]  # does not depend on the length
    whole, part, moved = tmp_path / "whole", tmp_path / "part", tmp_path / "moved = here"
    for folder, steps in ((whole, 10), (part, 5)):
        arguments = [f"trainer.max_steps={steps}", f"run_dir={folder}"]
        assert call("train.py", *base, *arguments).returncode == 0
    part.rename(moved)
    changed = ["trainer.max_steps=10", "micro_batch_size=4", "data.text_key=text"]
    assert call("train.py", f"resume={moved}", *changed).returncode == 0
    assert not part.exists()
    expected, found = (read_metrics(run / "metrics.csv") for run in (whole, moved))
    assert [row["step"] for row in found] == [row["step"] for row in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], abs=1e-4)
        if ours["step"] in (3, 6, 9, 10):
            assert ours["val_loss"] == pytest.approx(theirs["val_loss"], abs=1e-4)
    refused = call("train.py", f"resume={moved}")
    assert refused.returncode == 1
    assert "has taken its 10 steps" in refused.stderr


def test_a_relative_path_refers_to_the_folder_in_which_the_run_started(
    small_run: list[str],
    compose: Callable[..., Any],
    prose_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(prose_file.parent)
    relative = [o for o in small_run if not o.startswith("data.path")] + ["data.path=prose.*"]
    assert pretrain(compose("train", *relative))["step"] == 6
    monkeypatch.chdir(tmp_path)
    again = [f"resume={tmp_path / 'run'}", "trainer.max_steps=7"]
    assert pretrain(compose("train", *again))["step"] == 7


def test_an_interrupted_validation_is_repeated_after_resuming(
    small_run: list[str],
    compose: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    pretrain(compose("train", *small_run, f"run_dir={whole}"))
    cfg = compose("train", *small_run, "resume=auto", "micro_batch_size=2")

    def stop_while_validating(self: GracefulInterrupt, *_: object) -> None:
        self._requested = signal.SIGTERM

    with monkeypatch.context() as patched:
        patched.setattr(GracefulInterrupt, "on_validation_epoch_start", stop_while_validating)
        with pytest.raises(Stopped, match="stopped by SIGTERM; step 3 is saved") as stopped:
            pretrain(cfg)
    assert stopped.value.exit_code == 75
    assert not any("val_loss" in row for row in read_metrics(run / "metrics.csv"))
    pretrain(cfg)
    expected, found = (read_metrics(folder / "metrics.csv") for folder in (whole, run))
    assert [row["step"] for row in found] == [1, 2, 3, 4, 5, 6]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.get("val_loss") == pytest.approx(theirs.get("val_loss"), abs=1e-5)
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], abs=1e-5)
    assert (run / "samples.txt").read_text().count("=== step") == 2


def test_resume_auto_needs_the_same_folder_every_time(
    small_run: list[str], compose: Callable[..., Any]
) -> None:
    with pytest.raises(UserError, match="resume=auto needs run_dir="):
        pretrain(compose("train", *small_run, "resume=auto"), cli.Call(frozenset({"resume"})))


def test_resume_needs_a_run(call: Call, tmp_path: Path) -> None:
    resumed = call("train.py", f"resume={tmp_path / 'nothing'}")
    assert resumed.returncode == 1
    assert "nothing does not exist" in resumed.stderr
    assert "name a run's folder, with its config.yaml" in resumed.stderr
    assert not (tmp_path / "nothing").exists()
