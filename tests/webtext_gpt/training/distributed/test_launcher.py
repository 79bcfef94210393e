"""Processes that were started end with the one that started them."""

import io
import os

import pytest

from webtext_gpt.training.distributed import launcher


class Gone(io.StringIO):
    """Standard error whose reader has ended, as that of a killed pipeline."""

    def flush(self) -> None:
        raise BrokenPipeError


def test_a_process_ends_though_nobody_reads_its_last_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def end(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr("sys.stderr", Gone())
    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(SystemExit, match="1"):
        launcher._follow(parent=os.getpid())  # which is not what started this process
