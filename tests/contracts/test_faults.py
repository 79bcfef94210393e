"""Faults in a run: a killed process, a signal, a loss that is not finite."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from webtext_gpt.checkpoint.store import damage, read_checkpoint
from webtext_gpt.errors import UserError
from webtext_gpt.training.loggers import read_metrics
from webtext_gpt.training.pretrain import pretrain

REPOSITORY = Path(__file__).parents[2]
TRAIN = [sys.executable, str(REPOSITORY / "train.py")]
ALTERED = [sys.executable, str(REPOSITORY / "tests" / "contracts" / "altered_train.py")]
Call = Callable[..., subprocess.CompletedProcess[str]]
TWO = ("ddp", "deepspeed_zero1", "deepspeed_zero2", "deepspeed_zero3")
ENDLESS = ["trainer.max_steps=1000000", "validate_every=1000000"]


def _begin(arguments: list[str], run: Path) -> subprocess.Popen:
    """Start a run and wait for its first checkpoint."""
    process = subprocess.Popen(
        [*TRAIN, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not (run / "checkpoints" / "last.ckpt").exists() and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    return process


def _children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _check_that_a_killed_process_ends_the_run(
    small_run: list[str], run: Path, strategy: str, rank_0: bool
) -> None:
    two = ["trainer.devices=2", f"strategy={strategy}"]
    process = _begin([*small_run, *ENDLESS, *two], run)
    (child,) = _children(process.pid)
    killed_at = time.monotonic()
    os.kill(process.pid if rank_0 else child, signal.SIGKILL)
    _, stderr = process.communicate(timeout=60)
    while _is_running(child):
        assert time.monotonic() - killed_at < 60
        time.sleep(0.05)
    assert process.returncode != 0
    assert stderr.count("error:") == 1
    assert "Traceback" not in stderr
    assert (f"pid {process.pid}) is gone" if rank_0 else f"pid {child}) was ended by SIG") in stderr
    assert len(stderr.splitlines()) < 20


@pytest.mark.slow
def test_a_killed_process_ends_the_run_and_is_named_once(
    small_run: list[str], tmp_path: Path
) -> None:
    _check_that_a_killed_process_ends_the_run(small_run, tmp_path / "run", "ddp", rank_0=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "rank_0"),
    [
        ("ddp", True),
        ("deepspeed_zero2", False),
        ("deepspeed_zero2", True),
        ("deepspeed_zero3", False),
    ],
)
def test_any_killed_process_ends_the_run(
    strategy: str, rank_0: bool, small_run: list[str], tmp_path: Path
) -> None:
    _check_that_a_killed_process_ends_the_run(small_run, tmp_path / "run", strategy, rank_0)


@pytest.mark.parametrize("name", ["SIGTERM", pytest.param("SIGUSR1", marks=pytest.mark.slow)])
def test_a_schedulers_signal_saves_and_resume_auto_resumes(
    name: str, small_run: list[str], call: Call, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command = [*small_run, "resume=auto"]  # the same for every start, as a scheduler would call it
    process = _begin([*command, *ENDLESS], run)
    process.send_signal(getattr(signal, name))
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 75
    assert f"stopped by {name}; step " in stderr
    saved = (run / "checkpoints" / "last.ckpt").resolve()
    assert damage(saved) is None
    step = read_checkpoint(saved)["global_step"]
    assert [row["step"] for row in read_metrics(run / "metrics.csv")] == list(range(1, step + 1))
    more = [*command, f"trainer.max_steps={step + 3}", "validate_every=1000000"]
    assert call("train.py", *more).returncode == 0
    rows = read_metrics(run / "metrics.csv")
    assert [row["step"] for row in rows] == list(range(1, step + 4))


def test_resume_auto_refuses_another_model(
    small_run: list[str], compose: Callable[..., Any]
) -> None:
    again = [*small_run, "resume=auto", "trainer.max_steps=9"]
    assert pretrain(compose("train", *small_run, "resume=auto"))["step"] == 6
    assert pretrain(compose("train", *again))["step"] == 9
    with pytest.raises(UserError, match="the run to resume has another model_config"):
        pretrain(compose("train", *again, "model.n_layer=3"))


@pytest.mark.slow
def test_deepspeed_receives_the_settings_of_the_run(small_run: list[str], tmp_path: Path) -> None:
    asked = ["strategy=deepspeed_zero2", "micro_batch_size=2", "trainer.gradient_clip_val=0.7"]
    asked += ["trainer.max_steps=1", "optimizer.weight_decay=0.05", "optimizer.betas=[0.8,0.9]"]
    asked += ["trainer.precision=bf16-mixed", "optimizer.eps=1e-7"]
    environment = {**os.environ, "PROBE": str(tmp_path / "probe.json")}
    subprocess.run([*ALTERED, *small_run, *asked], check=True, timeout=100, env=environment)
    peak = 1e-2 / 2  # the first of two steps of warm-up
    shared = {"lr": peak, "betas": [0.8, 0.9], "eps": 1e-7}
    assert json.loads((tmp_path / "probe.json").read_text()) == {
        "gradient_accumulation_steps": 4,  # 256 tokens are 8 sequences of 32, 2 at a time
        "micro_batch_size": 2,
        "batch_size": 8,
        "gradient_clipping": 0.7,
        "stage": 2,
        "bf16": True,
        "fp16": False,
        "dtype": "torch.bfloat16",
        "optimizer": "AdamW",
        "groups": [{**shared, "weight_decay": 0.05}, {**shared, "weight_decay": 0.0}],
        "own_scheduler": False,  # Lightning steps it, as under every other strategy
    }
    (row,) = read_metrics(tmp_path / "run" / "metrics.csv")
    assert row["lr"] == pytest.approx(peak)
    assert row["train_loss"] == pytest.approx(5.63, abs=0.1)  # ln 280: the model is untrained


def _poisoned(
    arguments: list[str], step: int, rank: int = 0, kind: str = "nan", command: str = "train"
) -> subprocess.CompletedProcess:
    environment = {**os.environ, "POISON": f"{step}:{rank}:{kind}", "COMMAND": command}
    return subprocess.run(
        [*ALTERED, *arguments],
        env=environment,
        timeout=200,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_before_the_step(
    small_run: list[str], tmp_path: Path
) -> None:
    ended = _poisoned([*small_run, "micro_batch_size=2"], step=5)
    assert ended.returncode == 1
    assert "the loss is nan in step 5, whose batch has the training documents 0." in ended.stderr
    good = tmp_path / "run" / "checkpoints" / "step-00000004.ckpt"
    assert f"the last good checkpoint is {good}" in ended.stderr
    assert "Traceback" not in ended.stderr
    weights = read_checkpoint(good)["state_dict"]
    assert all(value.isfinite().all() for value in weights.values())


def _assert_step_was_skipped(run: Path, skipped: int) -> None:
    before, after, later = (
        read_checkpoint(run / "checkpoints" / f"step-{step:08d}.ckpt")
        for step in (skipped - 1, skipped, skipped + 1)
    )
    for name, value in before["state_dict"].items():
        assert torch.equal(after["state_dict"][name], value)
    moments = [c["optimizer_states"][0]["state"][0]["exp_avg"] for c in (before, after)]
    assert torch.equal(*moments)
    weights = "model.blocks.0.mlp.c_fc.weight"
    assert not torch.equal(later["state_dict"][weights], after["state_dict"][weights])


SKIP = ["guard.not_finite=skip", "micro_batch_size=2", "callbacks.checkpoints.save_every=1"]
SKIP += ["callbacks.checkpoints.keep_last=10"]


@pytest.mark.slow
def test_a_step_without_a_finite_loss_can_be_skipped(small_run: list[str], tmp_path: Path) -> None:
    ended = _poisoned([*small_run, *SKIP], step=3)
    assert ended.returncode == 0, ended.stderr
    assert "the loss is nan in step 3" in ended.stderr
    assert "the step is skipped" in ended.stderr
    _assert_step_was_skipped(tmp_path / "run", 3)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", TWO)
def test_all_ranks_skip_a_step_that_one_finds_bad(
    strategy: str, small_run: list[str], tmp_path: Path
) -> None:
    two = ["trainer.devices=2", f"strategy={strategy}"]
    ended = _poisoned([*small_run, *SKIP, *two], step=3, rank=1)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("the step is skipped") == 1
    _assert_step_was_skipped(tmp_path / "run", 3)


@pytest.mark.slow
@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("kind", ["inf", "gradient"])
@pytest.mark.parametrize("strategy", ["ddp", "deepspeed_zero2"])
def test_all_ranks_skip_whatever_one_finds_bad(
    strategy: str, kind: str, rank: int, accumulation: int, small_run: list[str], tmp_path: Path
) -> None:
    two = ["trainer.devices=2", f"strategy={strategy}", f"micro_batch_size={4 // accumulation}"]
    ended = _poisoned([*small_run, *SKIP, *two], step=3, rank=rank, kind=kind)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("the step is skipped") == 1
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["skipped_steps"] == 1
    _assert_step_was_skipped(tmp_path / "run", 3)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_two_processes_that_fine_tune_name_the_rows_and_skip(
    rank: int, small_finetuning: list[str], tmp_path: Path
) -> None:
    two = ["trainer.devices=2", "guard.not_finite=skip"]
    ended = _poisoned([*small_finetuning, *two], step=3, rank=rank, command="finetune")
    assert ended.returncode == 0, ended.stderr
    named = re.search(r"has the training rows .*train\.csv, line ([0-9, ]+); the", ended.stderr)
    assert named is not None
    assert len(named[1].split(", ")) == 4  # of a batch of 8


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "deepspeed_zero3"])
def test_all_ranks_stop_at_a_loss_that_one_finds_bad(
    strategy: str, small_run: list[str], tmp_path: Path
) -> None:
    two = ["trainer.devices=2", f"strategy={strategy}"]
    ended = _poisoned([*small_run, "micro_batch_size=2", *two], step=5, rank=1)
    assert ended.returncode == 1
    assert ended.stderr.count("the loss is nan in step 5") == 1


def test_a_launchers_processes_need_a_common_run_dir(
    small_run: list[str], call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [o for o in small_run if not o.startswith("run_dir")]
    started = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "RANK": "0"}
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    refused = call("train.py", *arguments, "trainer.devices=2")
    assert refused.returncode == 1
    assert (
        "torchrun starts several processes, each of which would name the run's folder"
        in refused.stderr
    )


def test_a_sweep_of_several_processes_is_refused(
    small_run: list[str], call: Call, tmp_path: Path
) -> None:
    sweep = ["-m", *small_run, "optimizer.lr=1e-2,2e-2", "trainer.devices=2"]
    refused = call("train.py", *sweep)
    assert refused.returncode == 1
    assert "a sweep (-m) trains with one process at a time" in refused.stderr
    assert not list((tmp_path / "run").rglob("config.yaml"))


@pytest.mark.slow
def test_a_sweep_of_one_process_trains_every_job(
    small_run: list[str], call: Call, tmp_path: Path
) -> None:
    sweep = ["-m", *small_run, "optimizer.lr=1e-2,2e-2"]
    assert call("train.py", *sweep).returncode == 0
    peaks = []
    for number in (0, 1):
        rows = read_metrics(tmp_path / "run" / str(number) / "metrics.csv")
        peaks.append(max(row["lr"] for row in rows))
    assert peaks == pytest.approx([1e-2, 2e-2])
