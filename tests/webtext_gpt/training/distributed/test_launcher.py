"""Started processes end when their parent ends."""

import io
import os

import pytest

from webtext_gpt.training.distributed import launcher


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
