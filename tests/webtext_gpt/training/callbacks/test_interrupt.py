"""A second Ctrl-C, wherever it arrives, says what is saved and how to resume."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest

from webtext_gpt.checkpoint.store import damage, save_checkpoint
from webtext_gpt.errors import Stopped
from webtext_gpt.training import checkpoint_io
from webtext_gpt.training.callbacks.checkpoints import Checkpoints
from webtext_gpt.training.module import TrainingModule
from webtext_gpt.training.pretrain import pretrain

TRAIN = str(Path(__file__).parents[4] / "train.py")


def _twice(method: Callable[..., Any], at: int) -> Callable[..., Any]:
    """Return a method that receives Ctrl-C twice when step `at` is taken."""

    def interrupted(self: Any, *arguments: Any) -> Any:
        trainer = self.trainer if isinstance(self, L.LightningModule) else arguments[0]
        if trainer.global_step == at:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        return method(self, *arguments)

    return interrupted


@pytest.mark.parametrize(
    ("owner", "name", "step", "last"),
    [
        (TrainingModule, "training_step", 1, None),
        (TrainingModule, "training_step", 5, 4),
        (TrainingModule, "on_validation_epoch_end", 3, 2),
        (Checkpoints, "save", 4, 3),  # step 3 has the best validation
    ],
)
@pytest.mark.parametrize("kind", ["train", pytest.param("finetune", marks=pytest.mark.slow)])
def test_it_stops_at_once_and_the_run_can_be_resumed(
    kind: str,
    owner: type,
    name: str,
    step: int,
    last: int | None,
    compose: Callable[..., Any],
    small_run: list[str],
    finetune: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", [TRAIN])
    same = ["trainer.max_steps=6", "validate_every=3", "callbacks.checkpoints.save_every=2"]

    def run(*arguments: str) -> dict[str, Any]:
        if kind == "train":
            return pretrain(compose("train", *small_run, *arguments))
        return finetune(*same, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, _twice(getattr(owner, name), step))
        with pytest.raises(Stopped) as stopped:
            run()
    message = str(stopped.value)
    assert stopped.value.exit_code == 1
    assert message.startswith(f"stopped at once after step {step}")
    program, script, resume = message.splitlines()[-1].split()
    assert Path(program).name == "python"
    assert (script, resume) == (f"{kind}.py", f"resume={tmp_path / 'run'}")
    if last is None:
        assert "before the first checkpoint; this starts again at step 0" in message
    else:
        lost = f"{step - last} step{'s' * (step - last > 1)}"
        assert f"the last checkpoint is of step {last}, so {lost} will be taken again" in message
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert run("resume=auto")["step"] == 6


def test_more_of_them_do_not_abandon_a_checkpoint_that_is_being_written(
    compose: Callable[..., Any],
    small_run: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pressed = threading.Event()

    def wait_and_save(contents: dict[str, Any], path: Path) -> None:
        pressed.wait(60)
        save_checkpoint(contents, path)

    def impatient(checkpoints: Checkpoints, *arguments: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        pressed.set()
        on_exception(checkpoints, *arguments)

    on_exception = Checkpoints.on_exception
    monkeypatch.setattr(checkpoint_io, "save_checkpoint", wait_and_save)
    monkeypatch.setattr(Checkpoints, "on_exception", impatient)
    twice = _twice(TrainingModule.training_step, 3)
    monkeypatch.setattr(TrainingModule, "training_step", twice)
    with pytest.raises(Stopped, match="after step 3; the last checkpoint is of step 2, so 1 step"):
        pretrain(compose("train", *small_run, "validate_every=100"))
    assert damage(tmp_path / "run" / "checkpoints" / "step-00000002.ckpt") is None
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "deepspeed_zero2"])
@pytest.mark.parametrize("group", [True, False])
def test_two_processes_stop_without_a_traceback(
    strategy: str, group: bool, small_run: list[str], tmp_path: Path
) -> None:
    """From a terminal, both receive the signal; from `kill`, rank 0 alone."""
    long = ["trainer.max_steps=100000", "validate_every=100000", f"strategy={strategy}"]
    long += ["trainer.devices=2", "global_batch_tokens=65536", "micro_batch_size=32"]
    process = subprocess.Popen(
        [sys.executable, TRAIN, *small_run, *long],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not (tmp_path / "run" / "checkpoints" / "last.ckpt").exists():
        assert process.poll() is None
        time.sleep(0.05)
    for _ in range(2):
        (os.killpg if group else os.kill)(process.pid, signal.SIGINT)
        time.sleep(0.2)
    _, stderr = process.communicate(timeout=100)
    assert process.returncode == 1
    assert "Traceback" not in stderr
    assert "error:" not in stderr
    assert stderr.count("stopped at once after step ") == 1
    assert "stopped at once after step 2; the last checkpoint is of step 2" in stderr
