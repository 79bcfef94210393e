"""Failures of the hub are one line that says why."""

import socket
from pathlib import Path

import pytest

from webtext_gpt.hub import can_connect, hub_access, hub_problem, may_be_on_hub


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


def test_a_hub_out_of_reach_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens at the address: in the block only earlier downloads count."""
    from huggingface_hub import constants

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr("urllib.request.getproxies", dict)
        can_connect.cache_clear()
        with hub_access():
            assert constants.HF_HUB_OFFLINE
        assert not constants.HF_HUB_OFFLINE
        free.listen()
        can_connect.cache_clear()
        with hub_access():
            assert not constants.HF_HUB_OFFLINE
    can_connect.cache_clear()


def test_offline_mode_is_named_only_if_the_user_set_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class OfflineModeIsEnabled(ConnectionError):  # noqa: N818 - their name
        """As huggingface_hub raises it."""

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE=1 is set" in hub_problem(OfflineModeIsEnabled())
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    assert "cannot be reached" in hub_problem(OfflineModeIsEnabled())
