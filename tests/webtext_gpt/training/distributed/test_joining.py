"""Through torchrun's store, a host that waits learns which other has failed or fallen silent."""

import os
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
import torch.distributed as dist

from webtext_gpt.errors import UserError
from webtext_gpt.training.distributed import joining


class Ended(BaseException):
    """The process would have ended here."""


def _server(tries: int = 3) -> dist.TCPStore:
    """A store as torchrun's; its own connection to itself is sometimes never answered."""
    try:
        return dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False,
                             timeout=timedelta(seconds=5))  # fmt: skip
    except dist.DistError:
        if tries == 1:
            raise
        return _server(tries - 1)


@pytest.fixture
def on_host(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """`on_host(n)`: be the first process that torchrun has started on host n of 2."""
    server = _server()

    def end(code: int) -> None:
        raise Ended(code)

    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(joining, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(joining, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(joining, "SILENCE_SECONDS", 1.0)
    monkeypatch.setattr(joining, "START_SECONDS", 0.5)

    def be(node: int) -> None:
        environment = {
            "TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_RESTART_COUNT": "0", "WORLD_SIZE": "2",
            "GROUP_WORLD_SIZE": "2", "GROUP_RANK": str(node), "RANK": str(node),
            "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(server.port),
        }  # fmt: skip
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    return be


def _cause() -> str:
    """Wait for the other hosts, and return the cause for which this one ends."""
    causes: list[str] = []
    store = joining.torchrun_store()
    assert store is not None
    with pytest.raises(Ended, match="1"):
        joining.wait_for_other_hosts(store, causes.append)
    (cause,) = causes
    return cause


def _fail(error: Exception) -> None:
    with pytest.raises(type(error)), joining.in_touch_with_other_hosts():
        raise error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UserError("data.path=x does not exist"), "data.path=x does not exist"),
        (FileNotFoundError(2, "No such file", "x.txt"), "x.txt does not exist"),
        (ImportError("no deepspeed"), "ImportError: no deepspeed"),
    ],
)
def test_the_first_error_of_another_host_is_the_cause(
    error: Exception, said: str, on_host: Callable[[int], None]
) -> None:
    on_host(1)
    _fail(error)
    _fail(ValueError("a later one"))
    on_host(0)
    assert _cause().startswith("rank 1 on ")
    assert _cause().endswith(f" has failed: {said} (all hosts end)")


def test_a_host_that_never_begins_or_falls_silent(on_host: Callable[[int], None]) -> None:
    on_host(0)
    assert _cause().startswith("the host of torchrun's --node-rank=1 has not begun to train: ")
    on_host(1)
    store = joining.torchrun_store()
    assert store is not None
    store.add("1", 1)
    on_host(0)
    assert _cause().startswith("the host of torchrun's --node-rank=1 has not been heard of for 1 s")


def test_hosts_that_have_joined_are_left_to_the_host_watch(on_host: Callable[[int], None]) -> None:
    for node in (0, 1):
        on_host(node)
        joining.note_joined()
        _fail(ValueError("after joining"))  # is not told
    store = joining.torchrun_store()
    assert store is not None
    joining.wait_for_other_hosts(store, pytest.fail)
    assert not store.check([joining.FAILED])


def test_a_living_host_is_waited_for(on_host: Callable[[int], None]) -> None:
    """Longer than a silence may last, as while it prepares data."""
    on_host(1)
    stop, causes = threading.Event(), []
    store = joining.torchrun_store()
    assert store is not None

    def live() -> None:
        while not stop.wait(0.05):
            store.add("1", 1)

    living = threading.Thread(target=live)
    living.start()
    on_host(0)
    mine = joining.torchrun_store()
    assert mine is not None
    waiting = threading.Thread(target=joining.wait_for_other_hosts, args=(mine, causes.append))
    waiting.start()
    waiting.join(2.5)
    assert waiting.is_alive()
    assert causes == []
    joining.note_joined()
    waiting.join(15)
    assert not waiting.is_alive()
    stop.set()
    living.join()
