"""Writing in a thread: one at a time, errors brought back."""

import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from webtext_gpt.checkpoint import background
from webtext_gpt.checkpoint.background import BackgroundWriter
from webtext_gpt.training.loggers import CSVLogger


def test_the_caller_goes_on_and_what_follows_waits_for_the_end() -> None:
    writer, go, done = BackgroundWriter(), threading.Event(), []

    def write() -> None:
        assert go.wait(10)
        done.append("written")

    writer.start(write)
    writer.then(lambda: done.append("linked"))
    writer.check()
    assert done == []
    go.set()
    writer.finish()
    assert done == ["written", "linked"]
    writer.then(lambda: done.append("at once"))
    assert done[-1] == "at once"


def test_an_error_comes_back_once_and_nothing_follows_it() -> None:
    writer, done = BackgroundWriter(), []

    def fail() -> None:
        raise OSError(28, "full")

    for look in (writer.finish, lambda: _until_raised(writer)):
        writer.start(fail)
        writer.then(lambda: done.append("linked"))
        with pytest.raises(OSError, match="full"):
            look()
        writer.finish()
    assert done == []


def _until_raised(writer: BackgroundWriter) -> None:
    for _ in range(1_000_000):
        writer.check()


def test_a_long_wait_is_announced(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "LONG_SECONDS", 0.01)
    writer = BackgroundWriter()
    writer.start(lambda: time.sleep(0.2))
    writer.finish("still writing")
    assert capsys.readouterr().err.startswith("still writing ...\n... it is written, after ")


def test_python_does_not_exit_before_the_end(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from webtext_gpt.checkpoint.background import BackgroundWriter\n"
        "BackgroundWriter().start(lambda: (time.sleep(0.3), Path(sys.argv[1]).touch()) and None)\n"
        "raise SystemExit(3)"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=False)
    assert ended.returncode == 3
    assert (tmp_path / "a").exists()


def test_a_slow_file_system_is_announced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is written, so that a run that seems to stand still has a reason."""
    logger = CSVLogger(tmp_path)
    logger.log_metrics({"train_loss": 2.0}, 1)
    logger.save()
    monkeypatch.setattr(background, "SLOW_SECONDS", 0.05)
    write, said = CSVLogger._write, []

    def delayed(logger: CSVLogger) -> None:
        time.sleep(0.5)
        said.append(capsys.readouterr().err)
        write(logger)

    monkeypatch.setattr(CSVLogger, "_write", delayed)
    logger.log_metrics({"train_loss": 1.0}, 2)
    logger.save()
    path = tmp_path / "metrics.csv"
    assert said == [f"{path} is still being written; training waits for it ...\n"]
    took = rf"\.\.\. the write of {path} took \d+ s; is its file system slow\?\n"
    assert re.fullmatch(took, capsys.readouterr().err)
    assert path.read_text() == "step,train_loss\n1,2.0\n2,1.0\n"
