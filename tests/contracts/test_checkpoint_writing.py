"""Checkpoints are written while training goes on, with the promises of a write it waits for."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from webtext_gpt.checkpoint import space
from webtext_gpt.checkpoint.store import damage, read_checkpoint, save_checkpoint
from webtext_gpt.errors import Stopped, UserError
from webtext_gpt.training import checkpoint_io
from webtext_gpt.training.callbacks.interrupt import GracefulInterrupt
from webtext_gpt.training.loggers import read_metrics
from webtext_gpt.training.module import TrainingModule
from webtext_gpt.training.pretrain import pretrain

Usage = namedtuple("Usage", "total used free")

SLOW = """
import sys, time
from webtext_gpt.checkpoint import store
from webtext_gpt.training import checkpoint_io
def slow(contents, path):
    with store.replaced(path, durable=True) as partial:
        store._write_file(contents, partial)
        if contents["global_step"] == 4:
            print("half", flush=True)
            time.sleep(60)
checkpoint_io.save_checkpoint = slow
sys.argv[0] = "train.py"
from webtext_gpt.cli import run_command
from webtext_gpt.commands import COMMANDS
run_command(COMMANDS["train"], sys.argv[1:], "train.py")
"""


def _checkpoints(run: Path) -> list[str]:
    """Return the names in the folder of checkpoints; links with what they name."""
    folder = run / "checkpoints"
    return sorted(
        f"{path.name} {path.readlink()}" if path.is_symlink() else path.name
        for path in folder.iterdir()
    )


class _Gate:
    """Holds writing up until training reaches a step; notes the step when a file is complete."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, until: int) -> None:
        self.step = 0
        self.reached = threading.Event()
        self.written: list[tuple[int, int]] = []
        monkeypatch.setattr(checkpoint_io, "save_checkpoint", self.write)
        begin = TrainingModule.on_train_batch_start

        def counted(module: TrainingModule, *arguments: Any) -> None:
            self.step = module.global_step
            if self.step >= until:
                self.reached.set()
            begin(module, *arguments)

        monkeypatch.setattr(TrainingModule, "on_train_batch_start", counted)

    def write(self, contents: dict[str, Any], path: Path) -> None:
        assert threading.current_thread() is not threading.main_thread()
        assert self.reached.wait(20)
        save_checkpoint(contents, path)
        self.written.append((contents["global_step"], self.step))


@pytest.mark.slow
def test_training_goes_on_and_the_file_has_the_step_it_was_saved_at(
    small_run: list[str],
    compose: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    often = ["callbacks.checkpoints.keep_every=2", "validate_every=100"]
    pretrain(compose("train", *small_run, *often, f"run_dir={tmp_path / 'whole'}"))
    gate = _Gate(monkeypatch, until=3)
    pretrain(compose("train", *small_run, *often))
    assert [saved for saved, _ in gate.written] == [2, 4, 6]
    assert gate.written[0][1] == 3  # the next step had begun
    for step in (2, 4, 6):
        ours, theirs = (
            read_checkpoint(tmp_path / run / "checkpoints" / f"step-0000000{step}.ckpt")
            for run in ("run", "whole")
        )
        for name, value in theirs["state_dict"].items():
            assert torch.equal(ours["state_dict"][name], value)
        states, expected = (c["optimizer_states"][0]["state"] for c in (ours, theirs))
        for number, state in expected.items():
            for key, value in state.items():
                assert torch.equal(states[number][key], value)


def test_links_and_older_checkpoints_wait_for_the_complete_file(
    small_run: list[str],
    compose: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, seen = tmp_path / "run", {}
    begin = TrainingModule.on_train_batch_start

    def look(module: TrainingModule, *arguments: Any) -> None:
        seen[module.global_step] = _checkpoints(run) if (run / "checkpoints").exists() else []
        begin(module, *arguments)

    monkeypatch.setattr(TrainingModule, "on_train_batch_start", look)

    def write(contents: dict[str, Any], path: Path) -> None:
        if contents["global_step"] == 4:
            while 5 not in seen:
                time.sleep(0.001)
        save_checkpoint(contents, path)

    monkeypatch.setattr(checkpoint_io, "save_checkpoint", write)
    settings = ["callbacks.checkpoints.keep_last=1", "validate_every=2", "optimizer.lr=1e-3"]
    pretrain(compose("train", *small_run, *settings))
    assert seen[5] == [
        "best.ckpt step-00000002.ckpt",
        "last.ckpt step-00000002.ckpt",
        "step-00000002.ckpt",
    ]
    assert _checkpoints(run) == [
        "best.ckpt step-00000006.ckpt",
        "last.ckpt step-00000006.ckpt",
        "step-00000006.ckpt",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("failing", [4, 6])
def test_a_full_disk_ends_the_run_and_leaves_its_older_checkpoints(
    failing: int,
    small_run: list[str],
    call: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the middle (step 4), and at the end (6), of which nothing more would be heard."""
    write = torch.save

    def full(contents: dict[str, Any], stream: Any) -> None:
        if contents["global_step"] == failing:
            stream.write(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(contents, stream)

    run = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full)
        ended = call("train.py", *small_run, "validate_every=100")
    assert ended.returncode == 1
    before = failing - 2
    assert f"step-0000000{failing}.ckpt is not written; free some space, then" in ended.stderr
    assert f"resume={run}; step-0000000{before} is the newest checkpoint" in ended.stderr
    assert "Traceback" not in ended.stderr
    names = _checkpoints(run)
    assert f"last.ckpt step-0000000{before}.ckpt" in names
    assert not any("partial" in name or str(failing) in name for name in names)
    assert damage(run / "checkpoints" / "last.ckpt") is None
    assert not (run / "summary.json").exists()
    assert call("train.py", f"resume={run}").returncode == 0
    assert [row["step"] for row in read_metrics(run / "metrics.csv")] == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_a_disk_that_is_too_small_is_found_before_training(
    small_run: list[str],
    compose: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """35,456 weights and two moments are 425,472 bytes; with 4 MiB of room, 4,619,776."""
    size, run = 4_619_776, tmp_path / "run"

    def free(amount: int) -> None:
        monkeypatch.setattr(space.shutil, "disk_usage", lambda _: Usage(10**9, 0, amount))

    free(4 * size - 1)  # the newest 2, the best, and one that is being written
    with pytest.raises(UserError, match=r"run has 0.02 GiB free, but checkpoints of 0.00 GiB need"):
        pretrain(compose("train", *small_run))
    assert not run.exists()
    free(4 * size)
    assert pretrain(compose("train", *small_run))["step"] == 6
    assert "keep_every" not in capsys.readouterr().out
    free(3 * size - 1)  # two of the four are there: the last, which is also the best, and one more
    pretrain(compose("train", f"resume={run}", "trainer.max_steps=7"))
    free(5 * size)
    averages = ["average=window", "average.steps=3", "average.interval=1"]  # 35,456 x 3 more values
    more, other = 4 * 3 * 35_456, f"run_dir={tmp_path / 'other'}"
    free(4 * (size + more) - 1)
    with pytest.raises(UserError, match="checkpoints of 0.00 GiB need 0.02 GiB at a time"):
        pretrain(compose("train", *small_run, *averages, other))
    decays = [o for o in small_run if not o.startswith("scheduler")] + ["scheduler=wsd"]
    free(6 * size - 1)
    with pytest.raises(UserError, match="the best, 2 from before the decay, and one being written"):
        pretrain(compose("train", *decays, "scheduler.warmup_steps=2", other))
    free(5 * size)
    kept = ["callbacks.checkpoints.keep_every=2", f"run_dir={tmp_path / 'kept'}"]
    pretrain(compose("train", *small_run, *kept))
    assert "note        callbacks.checkpoints.keep_every=2 keeps 3 check" in capsys.readouterr().out


def test_a_disk_that_fills_up_is_found_before_a_checkpoint_is_begun(
    small_run: list[str],
    compose: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin = TrainingModule.on_train_batch_start

    def fill(module: TrainingModule, *arguments: Any) -> None:
        if module.global_step == 3:
            monkeypatch.setattr(space.shutil, "disk_usage", lambda _: Usage(10**9, 0, 10**6))
        begin(module, *arguments)

    monkeypatch.setattr(TrainingModule, "on_train_batch_start", fill)
    with pytest.raises(
        UserError, match=r"step-00000004.ckpt is not written: it takes .* step-00000002 is the new"
    ):
        pretrain(compose("train", *small_run, "validate_every=100"))
    assert _checkpoints(tmp_path / "run") == ["last.ckpt step-00000002.ckpt", "step-00000002.ckpt"]


def test_without_memory_for_a_copy_training_waits_and_says_so_once(
    small_run: list[str],
    compose: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    threads = set()

    def write(contents: dict[str, Any], path: Path) -> None:
        threads.add(threading.current_thread())
        save_checkpoint(contents, path)

    monkeypatch.setattr(checkpoint_io, "save_checkpoint", write)
    monkeypatch.setattr(checkpoint_io, "free_memory", lambda: 400_000)
    assert pretrain(compose("train", *small_run))["step"] == 6
    assert threads == {threading.main_thread()}
    assert capsys.readouterr().err.count("; training waits while checkpoints are written") == 1
    assert "last.ckpt step-00000006.ckpt" in _checkpoints(tmp_path / "run")


def test_what_is_reported_as_saved_is_on_the_disk(
    small_run: list[str],
    compose: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a signal; and the checkpoint that is being written when training fails."""

    def slow(contents: dict[str, Any], path: Path) -> None:
        time.sleep(0.3)
        save_checkpoint(contents, path)

    def stop(self: GracefulInterrupt, *_: object) -> None:
        self._requested = signal.SIGTERM

    def fail(module: TrainingModule, *_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(checkpoint_io, "save_checkpoint", slow)
    run = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(GracefulInterrupt, "on_validation_epoch_start", stop)
        with pytest.raises(Stopped, match="step 3 is saved"):
            pretrain(compose("train", *small_run))
    assert "last.ckpt step-00000003.ckpt" in _checkpoints(run)
    with monkeypatch.context() as patched:
        patched.setattr(TrainingModule, "on_validation_epoch_end", fail)
        with pytest.raises(RuntimeError, match="a bug"):
            pretrain(compose("train", f"resume={run}", "validate_every=5"))
    assert "last.ckpt step-00000004.ckpt" in _checkpoints(run)
    assert pretrain(compose("train", f"resume={run}"))["step"] == 6


@pytest.mark.slow
def test_a_process_killed_while_it_writes_leaves_the_checkpoint_before(
    small_run: list[str], compose: Callable[..., Any], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    arguments = [*small_run, "validate_every=100", "trainer.max_steps=1000"]
    arguments += ["callbacks.checkpoints.save_every=2", "callbacks.checkpoints.keep_last=1"]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert any(line == "half\n" for line in process.stdout)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    names = _checkpoints(run)
    assert names[1:] == ["last.ckpt step-00000002.ckpt", "step-00000002.ckpt"]
    assert names[0].startswith(".step-00000004.ckpt.")
    assert names[0].endswith(".partial")
    assert pretrain(compose("train", f"resume={run}", "trainer.max_steps=6"))["step"] == 6
    assert not any("partial" in name for name in _checkpoints(run))
    assert [row["step"] for row in read_metrics(run / "metrics.csv")] == [1, 2, 3, 4, 5, 6]
