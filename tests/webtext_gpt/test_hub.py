"""Failures of the hub are one line that says why."""

from pathlib import Path

import pytest

from webtext_gpt.hub import hub_problem, may_be_on_hub


class LocalEntryNotFoundError(FileNotFoundError):
    """As huggingface_hub raises it without a connection."""


class GatedRepoError(OSError):
    """As huggingface_hub raises it."""


def _from(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionError("Couldn't reach 'a/b' on the Hub"), "cannot be reached"),
        (LocalEntryNotFoundError(""), "cannot be reached from this machine"),
        (_from(ValueError("x"), TimeoutError("y")), "cannot be reached"),
        (GatedRepoError("403"), "log in with hf auth login"),
        (ValueError("Unknown split 'x'.\nmore\nlines"), "Unknown split 'x'"),
        (KeyError(), "KeyError"),
    ],
)
def test_the_reason_is_one_line(error: Exception, reason: str) -> None:
    found = hub_problem(error)
    assert reason in found
    assert "\n" not in found


def test_paths_are_not_taken_for_names_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus").mkdir()
    assert all(map(may_be_on_hub, ("gpt2", "openai-community/gpt2", "a/b.c")))
    paths = ("corpus/tokenizer", "corpus", "./x", "~/x", "/a/b", "a/b/c", "x y", "../a")
    assert not any(map(may_be_on_hub, paths))
