"""The lock of a run's folder: one process at a time, and none that is gone."""

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.training import run_lock
from webtext_gpt.training.run_lock import Holder, RunLock

HOLD = """
import sys, time
from pathlib import Path
from webtext_gpt.training.run_lock import RunLock
lock = RunLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of `tmp_path`."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def _write(folder: Path, holder: Holder, age: float = 0.0) -> None:
    """Write the file that a process which no longer has a system's lock has left."""
    path = folder / ".lock"
    path.touch()
    holder = replace(holder, inode=holder.inode or path.stat().st_ino)
    path.write_text(json.dumps(asdict(holder)))
    os.utime(path, (time.time() - age, time.time() - age))


def test_a_living_holder_is_named_and_a_killed_one_forgotten(
    other: subprocess.Popen[str], tmp_path: Path
) -> None:
    written = (tmp_path / ".lock").read_bytes()
    for _ in range(2):
        with pytest.raises(UserError, match=rf"in use: process {other.pid} on \S+ has been train"):
            RunLock(tmp_path)
    assert (tmp_path / ".lock").read_bytes() == written
    other.kill()
    other.wait()
    with RunLock(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_without_system_locks_the_process_itself_is_looked_for(
    other: subprocess.Popen[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", unsupported)
    monkeypatch.setattr(run_lock, "SETTLE_SECONDS", 0.0)
    with pytest.raises(UserError, match=f"in use: process {other.pid} on "):
        RunLock(tmp_path)
    other.kill()
    other.wait()
    RunLock(tmp_path).release()


def test_a_process_that_only_bears_the_number_of_the_dead_one_is_not_the_holder(
    other: subprocess.Popen[str], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    _write(folder, replace(Holder(), pid=other.pid))  # it started at another time
    RunLock(folder).release()


@pytest.mark.parametrize("ahead", [0.0, -9000.0, 300.0])
def test_a_holder_on_another_machine_is_gone_once_it_is_silent_whatever_its_clock(
    ahead: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(run_lock, "FRESH_SECONDS", 1.5)
    _write(tmp_path, Holder(host="node7", pid=1, boot="another"), age=-ahead)
    began = time.monotonic()
    RunLock(tmp_path).release()
    assert 1.5 <= time.monotonic() - began < 6
    said = capsys.readouterr().out
    assert said.count("process 1 on node7 has been training in it") == 1
    assert said.endswith("; watching for a sign of life\n")


@pytest.mark.parametrize("ahead", [0.0, -300.0, 300.0])
def test_a_living_holder_keeps_its_lock_whatever_its_clock(
    ahead: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its clock, or the file server's, gives the file's time: by 300 s it would be long gone."""
    monkeypatch.setattr(run_lock, "FRESH_SECONDS", 3.0)
    _write(tmp_path, Holder(host="node7", pid=1, boot="another"), age=-ahead)
    ended = threading.Event()

    def touch() -> None:
        while not ended.wait(0.2):
            os.utime(tmp_path / ".lock", (time.time() + ahead, time.time() + ahead))

    holder = threading.Thread(target=touch)
    holder.start()
    try:
        with pytest.raises(UserError, match=r"process 1 on node7 .* surely gone, remove .*lock"):
            RunLock(tmp_path)
    finally:
        ended.set()
        holder.join()


def test_the_holder_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "BEAT_SECONDS", 0.01)
    with RunLock(tmp_path):
        os.utime(tmp_path / ".lock", (0, 0))
        deadline = time.monotonic() + 10
        while (tmp_path / ".lock").stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert abs((tmp_path / ".lock").stat().st_mtime - time.time()) < 20


def test_a_copy_of_a_folder_in_use_is_free(other: subprocess.Popen[str], tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    shutil.copy2(tmp_path / ".lock", tmp_path / "copy")
    RunLock(tmp_path / "copy").release()
    assert other.poll() is None


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"pid": "x"}', '{"unknown": 1}'])
def test_a_file_cut_short_does_not_lock_a_folder_for_ever(content: str, tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text(content)
    RunLock(tmp_path).release()


def test_a_call_of_a_scheduler_waits_for_the_process_before_it(
    other: subprocess.Popen[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subprocess.Popen(["/bin/sh", "-c", f"sleep 1; kill -9 {other.pid}"])
    with RunLock(tmp_path, wait=30.0):
        assert other.wait() == -9
    assert capsys.readouterr().out.count("; waiting for its end\n") == 1


def test_a_process_may_take_its_lock_again(tmp_path: Path) -> None:
    """After an error that left it, for example in a notebook."""
    left = RunLock(tmp_path)
    with RunLock(tmp_path):
        assert left is not None
    assert list(tmp_path.iterdir()) == []
