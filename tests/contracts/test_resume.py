"""Contract 6 on one process: interrupted and resumed equals uninterrupted."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from webtext_gpt.checkpoint import read_checkpoint
from webtext_gpt.training.loggers import read_metrics

REPOSITORY = Path(__file__).parents[2]
TRAIN = [sys.executable, str(REPOSITORY / "train.py")]


def _finished(run: Path) -> tuple[list[tuple[float, float]], dict[str, torch.Tensor]]:
    losses = [(m["step"], m["train_loss"]) for m in read_metrics(run / "metrics.csv") if m["step"]]
    return losses, read_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"]


def test_ctrl_c_saves_and_the_continued_run_equals_an_undisturbed_one(
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


def test_a_folder_that_holds_a_run_is_not_written_over(
    small_run: list[str], tmp_path: Path
) -> None:
    subprocess.run([*TRAIN, *small_run], check=True, timeout=300)
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    again = subprocess.run([*TRAIN, *small_run], capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "already holds a run; continue it with resume=" in again.stderr
    assert {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.n_layer=3", "the run to continue has another model_config"),
        ("model=small", "a group cannot be changed"),
        ("trainer.max_stps=9", "does not fit the run"),
        ("tokenizer.vocab_size=270", "another tokenizer and another corpus"),
    ],
)
def test_a_run_is_not_continued_as_another(
    small_run: list[str], tmp_path: Path, override: str, message: str
) -> None:
    subprocess.run([*TRAIN, *small_run], check=True, timeout=300)
    arguments = [f"resume={tmp_path / 'run'}", override]
    resumed = subprocess.run([*TRAIN, *arguments], capture_output=True, text=True, check=False)
    assert resumed.returncode == 1
    assert message in resumed.stderr or "unknown key" in resumed.stderr


def test_resume_needs_a_run(tmp_path: Path) -> None:
    arguments = [f"resume={tmp_path / 'nothing'}"]
    resumed = subprocess.run([*TRAIN, *arguments], capture_output=True, text=True, check=False)
    assert resumed.returncode == 1
    assert "no run is there" in resumed.stderr
    assert not (tmp_path / "nothing").exists()
