"""Started processes end when their parent ends."""

import io
import os
import subprocess
import sys
import time

import pytest

from webtext_gpt.checkpoint.background import BackgroundWriter, is_writing
from webtext_gpt.training.distributed import launcher
from webtext_gpt.training.distributed.launcher import Watch


class Gone(io.StringIO):
    """Standard error whose reader has ended, as in a killed pipeline."""

    def flush(self) -> None:
        raise BrokenPipeError


def test_a_process_ends_even_if_stderr_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def end(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr("sys.stderr", Gone())
    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(SystemExit, match="1"):
        launcher._follow(parent=os.getpid())  # not the parent of this process


def test_a_death_ends_the_run_when_no_checkpoint_is_being_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The main thread waits for a checkpoint, or is stuck: what it has begun is finished first."""
    written: list[bool] = []

    def write() -> None:
        time.sleep(1)
        written.append(True)

    def end(watch: Watch) -> None:
        assert watch.death() == "the process of rank 1 ended with code 3; its message is above"
        written.append(is_writing())

    monkeypatch.setattr(launcher, "STUCK_SECONDS", 0.1)
    monkeypatch.setattr(Watch, "_end", end)
    writer = BackgroundWriter()
    writer.start(write)
    Watch([subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])]).run()
    assert written == [True, False]
