"""A run's folder is locked while it trains: nothing else writes there, readers are not held up."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from webtext_gpt.errors import Stopped, UserError
from webtext_gpt.finetuning.seeds import finetune_seeds
from webtext_gpt.settings.saved import save
from webtext_gpt.training import opening
from webtext_gpt.training.callbacks.interrupt import GracefulInterrupt
from webtext_gpt.training.loggers import read_metrics
from webtext_gpt.training.pretrain import pretrain
from webtext_gpt.training.run_lock import RunLock

TRAIN = [sys.executable, str(Path(__file__).parents[2] / "train.py")]
Call = Callable[..., subprocess.CompletedProcess[str]]
HOLD = "import sys, time; from pathlib import Path; from webtext_gpt.training.run_lock import *\n"
HOLD += "lock = RunLock(Path(sys.argv[1])); print(flush=True); time.sleep(100)"


def _names(run: Path) -> set[str]:
    return {str(path.relative_to(run)) for path in run.rglob("*")}


@pytest.mark.slow
def test_a_run_in_training_is_not_resumed_and_can_be_read(
    small_run: list[str], call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    endless = ["trainer.max_steps=1000000", "validate_every=1000000"]
    process = subprocess.Popen([*TRAIN, *small_run, *endless], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (run / "checkpoints" / "last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        monkeypatch.setattr(opening, "WAIT_SECONDS", 0.1)
        for again in ([f"resume={run}"], [*small_run, "resume=auto"]):
            refused = call("train.py", *again)
            assert refused.returncode == 1
            assert f"{run} is in use: process {process.pid} on " in refused.stderr
            assert "Traceback" not in refused.stderr
        assert "already holds a run" in call("train.py", *small_run).stderr
        read = call("generate.py", f"checkpoint={run}", "prompt=a", "max_new_tokens=2")
        assert read.returncode == 0
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not any("damaged" in name for name in _names(run))
    step = int((run / "checkpoints" / "last.ckpt").readlink().stem.removeprefix("step-"))
    resumed = call("train.py", f"resume={run}", f"trainer.max_steps={step + 3}")
    assert resumed.returncode == 0, resumed.stderr
    steps = [row["step"] for row in read_metrics(run / "metrics.csv")]
    assert steps == sorted(set(steps))
    assert ".lock" not in _names(run)


@pytest.fixture
def holder(tmp_path: Path) -> Any:
    """`holder(folder)`: another process that has locked a folder."""
    with_folder: list[subprocess.Popen[bytes]] = []

    def hold(folder: Path) -> int:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE
        )
        with_folder.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return process.pid

    yield hold
    for process in with_folder:
        process.kill()
        process.communicate()


def test_nothing_in_a_locked_folder_changes(
    small_run: list[str], compose: Callable[..., Any], holder: Callable[[Path], int], tmp_path: Path
) -> None:
    """Not even what a resumed run puts in order: partial files, later or replaced checkpoints."""
    run = tmp_path / "run"
    pretrain(compose("train", *small_run))
    checkpoints = run / "checkpoints"
    (checkpoints / "step-00000006.ckpt").rename(checkpoints / ".step-00000006.ckpt.old")
    (checkpoints / "step-00000099.ckpt").write_bytes(b"x")
    (checkpoints / ".a.partial").touch()
    holder(run)
    before = {path: path.lstat().st_mtime_ns for path in run.rglob("*") if path.name != ".lock"}
    with pytest.raises(UserError, match="is in use"):
        pretrain(compose("train", f"resume={run}", "trainer.max_steps=9"))
    after = {path: path.lstat().st_mtime_ns for path in run.rglob("*") if path.name != ".lock"}
    assert after == before


def test_a_new_run_does_not_begin_in_a_folder_that_another_has_just_taken(
    small_run: list[str], compose: Callable[..., Any], holder: Callable[[Path], int], tmp_path: Path
) -> None:
    pid = holder(tmp_path / "run")  # before it has written config.yaml
    with pytest.raises(UserError, match=f"in use: process {pid} on"):
        pretrain(compose("train", *small_run))
    assert _names(tmp_path / "run") == {".lock"}


def test_fine_tuning_and_its_seeds_are_locked_out(
    small_finetuning: list[str],
    finetune: Callable[..., Any],
    compose: Callable[..., Any],
    holder: Callable[[Path], int],
    tmp_path: Path,
) -> None:
    holder(tmp_path / "run")
    holder(tmp_path / "seeds")
    with pytest.raises(UserError, match="run is in use"):
        finetune()
    seeds = compose("finetune", *small_finetuning, "seeds=[0,1]", f"run_dir={tmp_path / 'seeds'}")
    with pytest.raises(UserError, match="seeds is in use"):
        finetune_seeds(seeds)
    holder(tmp_path / "half" / "seed-0")
    half = compose("finetune", *small_finetuning, "seeds=[0,1]", f"run_dir={tmp_path / 'half'}")
    with pytest.raises(UserError, match="seed-0 is in use"):
        finetune_seeds(half)
    for folder in ("run", "seeds", "half/seed-0"):
        assert _names(tmp_path / folder) == {".lock"}


def test_the_lock_ends_with_the_run_however_it_ends(
    small_run: list[str],
    compose: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stopped, failed or finished: the same process can go on in the folder."""
    lock = tmp_path / "run" / ".lock"

    def stop(self: GracefulInterrupt, *_: object) -> None:
        self._requested = signal.SIGINT

    def fail(*_: object, **__: object) -> None:
        assert lock.exists()
        raise OSError("broken")

    auto = compose("train", *small_run, "resume=auto")
    with monkeypatch.context() as patched:
        patched.setattr(GracefulInterrupt, "on_validation_epoch_start", stop)
        with pytest.raises(Stopped):
            pretrain(auto)
    assert not lock.exists()
    with monkeypatch.context() as patched:
        patched.setattr(opening, "newest_undamaged", fail)
        with pytest.raises(OSError, match="broken"):
            pretrain(auto)
    assert not lock.exists()
    assert pretrain(auto)["step"] == 6
    assert not lock.exists()
    assert pretrain(auto) == {}  # finished
    assert not lock.exists()


@pytest.mark.parametrize("rank", [{"NODE_RANK": "1"}, {"GROUP_RANK": "1"}])
def test_only_the_first_machine_locks(
    rank: dict[str, str],
    small_run: list[str],
    compose: Callable[..., Any],
    holder: Callable[[Path], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save(compose("train", *small_run), tmp_path / "run")
    holder(tmp_path / "run")
    for name, value in rank.items():
        monkeypatch.setenv(name, value)
    with opening.open_run(compose("train", f"resume={tmp_path / 'run'}")) as run:
        assert not run.is_locked


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_to(
    small_run: list[str],
    compose: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A finished run is still reported as finished; to train there is refused at once."""
    pretrain(compose("train", *small_run))
    run = tmp_path / "run"
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != run or not mode & os.W_OK)
    assert pretrain(compose("train", *small_run, "resume=auto")) == {}
    with pytest.raises(UserError, match=r"run_dir=.*run cannot be written to: no permission"):
        pretrain(compose("train", *small_run, "resume=auto", "trainer.max_steps=7"))
    (tmp_path / "run" / "summary.json").unlink()
    with pytest.raises(UserError, match=r"run_dir=.*run cannot be written to: no permission"):
        pretrain(compose("train", f"resume={tmp_path / 'run'}"))


def test_the_lock_is_the_runs_own(tmp_path: Path) -> None:
    with RunLock(tmp_path / "a"), RunLock(tmp_path / "a" / "seed-0"):
        assert _names(tmp_path / "a") == {".lock", "seed-0", "seed-0/.lock"}
