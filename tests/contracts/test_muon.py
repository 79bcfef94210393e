"""optimizer=muon: the same losses under every strategy that it allows, exact resume, refusals."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from webtext_gpt.checkpoint.store import read_checkpoint
from webtext_gpt.errors import UserError
from webtext_gpt.training.loggers import read_metrics
from webtext_gpt.training.pretrain import pretrain

REPOSITORY = Path(__file__).parents[2]
Train = Callable[..., dict]
MUON = ("optimizer=muon", "validate_every=10", "callbacks.samples=null")


@pytest.fixture
def train(compose: Callable[..., Any], small_run: list[str]) -> Train:
    """`train(*overrides)`: a small run with Muon in this process, new or resumed."""
    return lambda *more: pretrain(compose("train", *small_run, *MUON, "resume=auto", *more))


@pytest.fixture
def without_bf16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Iterate in fp32 in every process: in bf16, the order of sums over processes shows."""
    line = "torch.cpu.get_capabilities = lambda: {}"
    (tmp_path / "processes").mkdir()
    (tmp_path / "processes" / "sitecustomize.py").write_text(f"import torch\n{line}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "processes"))
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)


def _checkpoint(run: Path) -> dict[str, Any]:
    return read_checkpoint(run / "checkpoints" / "last.ckpt")


def _groups(run: Path) -> list[dict[str, Any]]:
    return _checkpoint(run)["optimizer_states"][0]["param_groups"]


def _losses(run: Path) -> list[float]:
    return [row["train_loss"] for row in read_metrics(run / "metrics.csv") if "train_loss" in row]


@pytest.mark.slow
def test_a_resumed_run_equals_an_undisturbed_one(train: Train, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    constant = "scheduler=constant"
    train(f"run_dir={whole}", constant, "trainer.max_steps=4")
    train(constant, "trainer.max_steps=2")
    train(constant, "trainer.max_steps=4")
    ours, theirs = _checkpoint(tmp_path / "run"), _checkpoint(whole)
    for name, value in theirs["state_dict"].items():
        assert torch.equal(ours["state_dict"][name], value), name
    states = [checkpoint["optimizer_states"][0]["state"] for checkpoint in (ours, theirs)]
    assert states[0].keys() == states[1].keys()
    for number, state in states[1].items():
        assert state.keys() == states[0][number].keys()
        assert all(torch.equal(states[0][number][key], state[key]) for key in state)


def test_one_schedule_drives_both_rates(train: Train, tmp_path: Path) -> None:
    """Half of both peaks after one of two steps of warm-up, and this call's keys on resuming."""
    run = tmp_path / "run"
    train("optimizer.lr=0.04", "optimizer.adamw_lr=1e-3", "trainer.max_steps=1")
    assert [group["lr"] for group in _groups(run)] == pytest.approx([0.04, 1e-3, 1e-3])
    (row,) = read_metrics(run / "metrics.csv")
    assert row["lr"] == pytest.approx(0.02)
    train("optimizer.momentum=0.8", "optimizer.adamw_weight_decay=0.3", "trainer.max_steps=2")
    matrices, decayed, rest = _groups(run)
    assert matrices["momentum"] == 0.8
    assert (decayed["weight_decay"], rest["weight_decay"]) == (0.3, 0.0)


@pytest.mark.parametrize(("first", "then"), [("adamw", "muon"), ("muon", "adamw")])
def test_another_optimizer_is_refused_before_anything_is_written(
    first: str, then: str, train: Train, tmp_path: Path
) -> None:
    train(f"optimizer={first}", "trainer.max_steps=1")
    run = tmp_path / "run"
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=f"optimizer={first}, and this call gives optimizer={then}"):
        train(f"optimizer={then}", "trainer.max_steps=2")
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert {path: after.get(path) for path in before} == before


@pytest.mark.parametrize("strategy", ["deepspeed_zero3", "deepspeed_zero3_offload", "fsdp"])
def test_divided_matrices_are_refused(strategy: str, compose: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match=r"optimizer=muon.*strategy=(deepspeed_zero3|fsdp)"):
        compose("train", "optimizer=muon", f"strategy={strategy}")


@pytest.mark.slow
@pytest.mark.usefixtures("without_bf16")
@pytest.mark.parametrize("strategy", ["ddp", "deepspeed_zero1", "deepspeed_zero2"])
def test_every_strategy_gives_the_same_losses(
    strategy: str, train: Train, small_run: list[str], tmp_path: Path
) -> None:
    """20 steps, the two processes interrupted after 12, which cut a matrix in two under ZeRO.

    Of each matrix, the checkpoint holds one moment, of other parameters two.
    """
    one, run = tmp_path / "one", tmp_path / "run"
    train(f"run_dir={one}", "scheduler=constant", "trainer.max_steps=20")
    command = [sys.executable, str(REPOSITORY / "train.py"), *small_run, *MUON, "resume=auto"]
    command += [f"strategy={strategy}", "trainer.devices=2", "scheduler=constant"]
    for steps in (12, 20):
        command.append(f"trainer.max_steps={steps}")
        ended = subprocess.run(command, check=False, timeout=900, stderr=subprocess.PIPE)
        assert ended.returncode == 0, ended.stderr.decode()[-3000:]
        command.pop()
    losses = _losses(one)
    assert len(losses) == 20
    assert _losses(run) == pytest.approx(losses, abs=1e-5)
    kept = [
        [sum(value.dim() > 0 for value in state.values()) for state in of_run.values()]
        for of_run in (_checkpoint(f)["optimizer_states"][0]["state"] for f in (one, run))
    ]
    assert kept[0] == kept[1]
    assert set(kept[0]) == {1, 2}
