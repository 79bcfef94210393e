"""The loss curve is what `metrics.csv` says now, and a run is running while somebody trains it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.explorer.curve import MOST_POINTS, Curve

ROWS = "step,train_loss,lr,val_loss\n1,5.5,0.1,\n2,5.25,0.1,5.75\n3,nan,0.1,\n4,inf,0.1,5.0\n"

HOLDS_THE_LOCK = """
import sys
from pathlib import Path
from webtext_gpt.training.run_lock import RunLock
with RunLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    """A `metrics.csv` that was written an hour ago."""
    path = tmp_path / "metrics.csv"
    path.write_text(ROWS)
    make_old(path)
    return path


def make_old(path: Path) -> None:
    hour_ago = time.time() - 3600
    os.utime(path, (hour_ago, hour_ago))


def test_finite_losses_of_each_column(metrics: Path) -> None:
    assert Curve(metrics.parent).points() == {
        "train": [[1, 5.5], [2, 5.25]],
        "validation": [[2, 5.75], [4, 5.0]],
        "step": 4,
        "is_running": False,
    }


def test_it_is_read_again_when_it_has_changed(metrics: Path) -> None:
    curve = Curve(metrics.parent)
    curve.points()
    with metrics.open("a") as stream:
        stream.write("5,4.5,0.1,\n6,4.2")  # the last line is being written
    found = curve.points()
    assert (found["train"][2:], found["step"]) == ([[5, 4.5]], 5)
    new = metrics.with_name("new")
    new.write_text("step,train_loss\n1,2.5\n")  # a new column: the file is written anew
    new.replace(metrics)
    assert curve.points()["train"] == [[1, 2.5]]


def test_a_long_curve_is_thinned_and_keeps_its_ends(metrics: Path) -> None:
    lines = [f"{step},{step / 1000}\n" for step in range(1, 7002)]
    metrics.write_text("step,train_loss\n" + "".join(lines))
    points = Curve(metrics.parent).points()["train"]
    assert points[:3] == [[1, 0.001], [5, 0.005], [9, 0.009]]
    assert points[-2:] == [[6997, 6.997], [7001, 7.001]]
    assert len(points) <= MOST_POINTS


def test_a_run_that_wrote_just_now_is_running_unless_it_is_finished(metrics: Path) -> None:
    curve = Curve(metrics.parent)
    assert curve.points()["is_running"] is False
    os.utime(metrics)
    assert curve.points()["is_running"] is True
    (metrics.parent / "summary.json").write_text("{}")
    assert curve.points()["is_running"] is False


@pytest.fixture
def trainer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of the folder until its input ends."""
    command = [sys.executable, "-c", HOLDS_THE_LOCK, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.stdin.close()
        process.wait(30)


def test_a_run_is_running_while_another_process_holds_its_lock(
    metrics: Path, trainer: subprocess.Popen[str]
) -> None:
    curve = Curve(metrics.parent)
    make_old(metrics.parent / ".lock")  # on this machine the process counts, not the time
    assert curve.points()["is_running"] is True
    assert curve.points()["is_running"] is True  # looking has not taken the lock away
    trainer.kill()
    trainer.wait(30)
    assert (metrics.parent / ".lock").exists()
    assert curve.points()["is_running"] is False


def test_a_lock_of_another_machine_counts_while_it_is_touched(metrics: Path) -> None:
    lock = metrics.parent / ".lock"
    holder = {"host": "far", "pid": 1, "started": "1", "boot": "far", "namespace": "", "inode": 0}
    lock.write_text(json.dumps({**holder, "since": ""}))
    assert Curve(metrics.parent).points()["is_running"] is True
    make_old(lock)
    assert Curve(metrics.parent).points()["is_running"] is False
    lock.write_text("{")
    assert Curve(metrics.parent).points()["is_running"] is False


@pytest.mark.parametrize("text", ["step,train_loss\n1,much\n", "loss\n1\n"])
def test_a_file_that_is_no_metrics_is_refused(metrics: Path, text: str) -> None:
    metrics.write_text(text)
    with pytest.raises(UserError, match=r"metrics\.csv cannot be read"):
        Curve(metrics.parent).points()
    metrics.unlink()
    with pytest.raises(UserError, match=r"metrics\.csv cannot be read"):
        Curve(metrics.parent).points()
