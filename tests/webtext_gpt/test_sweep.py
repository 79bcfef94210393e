"""Sweeps: a failed job is named, the others run, and a stop says what is left."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from webtext_gpt import cli
from webtext_gpt.commands import COMMANDS
from webtext_gpt.errors import EXIT_PREEMPTED, Stopped, UserError

Sweep = Callable[..., tuple[int, list[tuple[float, str]]]]


@pytest.fixture
def sweep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sweep:
    """`sweep(command, work)`: lr=1, 2, 3; returns the exit code and the jobs that finished."""

    def _sweep(command: str, work: Callable[[float], None]) -> tuple[int, list[tuple[float, str]]]:
        done: list[tuple[float, str]] = []

        def job(settings: Any, call: cli.Call) -> None:
            work(settings.optimizer.lr)
            done.append((settings.optimizer.lr, settings.run_dir))

        command_type = type(COMMANDS[command])
        load = command_type.load
        monkeypatch.setattr(
            command_type, "load", lambda self, what: job if what == "work" else load(self, what)
        )
        monkeypatch.setenv(cli.FULL_ERROR, "0")
        arguments = ["-m", "optimizer.lr=1,2,3", "seed=4", f"run_dir={tmp_path}"]
        try:
            cli.run_command(COMMANDS[command], arguments, command)
        except SystemExit as end:
            return int(end.code or 0), done
        return 0, done

    return _sweep


def _fails_at_2(error: BaseException) -> Callable[[float], None]:
    def work(lr: float) -> None:
        if lr == 2:
            raise error

    return work


@pytest.mark.parametrize("command", ["train", "finetune"])
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UserError("no such\ncolumn"), "no such"),
        (FileNotFoundError(2, "No such file", "a.txt"), "a.txt does not exist"),
        (RuntimeError("out of memory"), "RuntimeError: out of memory"),
        (SystemExit(3), "it has ended with code 3"),
    ],
)
def test_a_failed_job_is_named_and_the_others_run(
    command: str,
    error: BaseException,
    message: str,
    sweep: Sweep,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, done = sweep(command, _fails_at_2(error))
    assert code == 1
    assert done == [(1, f"{tmp_path}/0"), (3, f"{tmp_path}/2")]
    shown = capsys.readouterr()
    assert f"--- job 3 of 3 (optimizer.lr=3): {tmp_path}/2" in shown.out
    job = f"job 2 of 3 (optimizer.lr=2) has failed: {message}"
    assert f"error: {job}" in shown.err
    assert shown.err.rstrip().endswith(
        f"error: 1 of 3 jobs have failed\n{job}; its folder is {tmp_path}/1"
    )
    assert ("Traceback" in shown.err) == isinstance(error, RuntimeError)


@pytest.mark.parametrize(
    ("stop", "code"),
    [
        (Stopped("step 7 is saved", 1), 1),
        (Stopped("by SIGTERM", EXIT_PREEMPTED), EXIT_PREEMPTED),
        (KeyboardInterrupt(), 1),
    ],
)
def test_a_stopped_sweep_says_what_is_left(
    stop: BaseException,
    code: int,
    sweep: Sweep,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert sweep("train", _fails_at_2(stop)) == (code, [(1, f"{tmp_path}/0")])
    message = capsys.readouterr().err
    assert message.startswith(f"\n{str(stop) or 'interrupted'}\n")  # no error
    assert "the sweep is stopped in job 2 of 3 (optimizer.lr=2)\n" in message
    assert "not begun: job 3 of 3 (optimizer.lr=3)\n" in message
    again = f"-m optimizer.lr=1,2,3 seed=4 resume=auto run_dir={tmp_path}"
    assert message.rstrip().endswith(again)


def test_a_sweep_trains_around_data_that_does_not_exist(
    small_run: list[str],
    call: Callable[..., subprocess.CompletedProcess[str]],
    prose_file: Path,
    tmp_path: Path,
) -> None:
    paths = f"data.path={tmp_path / 'nothing.txt'},{prose_file}"
    arguments = ["-m", *small_run, paths, "trainer.max_steps=1"]
    arguments = [a for a in arguments if a != f"data.path={prose_file}"]
    ended = call("train.py", *arguments)
    assert ended.returncode == 1
    assert "1 of 2 jobs have failed\njob 1 of 2 (data.path=" in ended.stderr
    loss = json.loads((tmp_path / "run" / "1" / "summary.json").read_text())["val_loss"]
    first, second = ended.stdout.rstrip().splitlines()[-2:]
    assert first.startswith(f"data.path={tmp_path / 'nothing.txt'}  ")
    assert first.endswith(f"         -  {tmp_path / 'run' / '0'}")
    assert second.startswith(f"data.path={prose_file}  ")
    assert second.endswith(f"    {loss:.4f}  {tmp_path / 'run' / '1'}")
    ended = call("train.py", *arguments, "resume=auto")  # a finished job is left as it is
    assert ended.returncode == 1
    assert "has taken its 1 steps" in ended.stdout
