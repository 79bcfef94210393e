"""A machine that is gone ends the others; one that has finished does not."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.training.callbacks import hosts as callback
from webtext_gpt.training.callbacks.hosts import (
    Process,
    folder_problem,
    machine_names,
    refuse_other_versions,
    source_hash,
)
from webtext_gpt.training.distributed import hosts
from webtext_gpt.training.distributed.hosts import HostWatch, Peer, connect
from webtext_gpt.training.run_lock import NAME, RunLock

NAMES = ["rank 0 on host-a", "rank 1 on host-b", "rank 2 on host-c"]


class Ended(BaseException):
    """The process would have ended here."""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(hosts, "SILENCE_SECONDS", 0.5)
    monkeypatch.setattr(hosts, "SETTLE_SECONDS", 0.2)

    def end(code: int) -> None:
        raise Ended(code)

    monkeypatch.setattr(os, "_exit", end)


def _cause(watch: HostWatch) -> str:
    """Run a watch to the end of its process, and return the cause that it reports."""
    causes: list[str] = []
    watch.end = causes.append
    with pytest.raises(Ended, match="1"):
        watch.run()
    (cause,) = causes
    return cause


def _rank_zero() -> tuple[HostWatch, list[socket.socket]]:
    """The watch of rank 0, and the other ends of its connections to machines 1 and 2."""
    pairs = [socket.socketpair() for _ in NAMES[1:]]
    peers = [Peer(node, mine) for node, (mine, _) in enumerate(pairs, start=1)]
    return HostWatch(peers, NAMES, end=lambda cause: None), [theirs for _, theirs in pairs]


@pytest.mark.usefixtures("quick")
def test_a_closed_connection_ends_rank_zero_which_tells_the_others() -> None:
    watch, (_, other) = _rank_zero()
    _.close()
    assert _cause(watch).startswith("rank 1 on host-b is gone: it has closed the connection")
    assert other.recv(100).endswith(b"L1\n")
    mine, theirs = socket.socketpair()
    theirs.sendall(b".L1\n")
    elsewhere = HostWatch([Peer(0, mine)], NAMES, end=lambda cause: None)
    assert _cause(elsewhere) == "rank 1 on host-b is gone, as rank 0 reports"


@pytest.mark.usefixtures("quick")
def test_a_silent_machine_is_gone_though_its_connection_stays() -> None:
    watch, (_talks, _silent) = _rank_zero()
    stop = threading.Event()

    def talk() -> None:
        while not stop.wait(0.05):
            _talks.sendall(b".")

    talking = threading.Thread(target=talk)
    talking.start()
    try:
        assert "rank 2 on host-c is gone: it has not answered for" in _cause(watch)
    finally:
        stop.set()
        talking.join()


@pytest.mark.usefixtures("quick")
def test_a_machine_that_reports_an_error_itself_is_not_called_gone() -> None:
    watch, (failing, _other) = _rank_zero()
    failing.sendall(b".F")
    assert _cause(watch) == "rank 1 on host-b has ended with an error; its output names it"


@pytest.mark.usefixtures("quick")
def test_finished_machines_end_nothing() -> None:
    watch, others = _rank_zero()
    for other in others:
        other.sendall(b"..D")
        other.close()
    watch.run()  # returns, since nobody is left
    mine, theirs = socket.socketpair()
    closing = HostWatch([Peer(0, mine)], NAMES, end=lambda cause: None)
    closing.start()
    closing.close(failed=False)
    closing.join(5)
    assert not closing.is_alive()
    assert theirs.recv(100).endswith(b"D")


def test_rank_zero_connects_to_the_machines_that_know_its_secret() -> None:
    told = threading.Event()
    said: list[tuple[str, int, bytes]] = []

    def tell(mine: object) -> object:
        said.append(mine)  # type: ignore[arg-type]
        told.set()
        return mine

    found: list[Peer] = []
    rank_zero = threading.Thread(
        target=lambda: found.extend(connect(0, NAMES[:2], "127.0.0.1", tell))
    )
    rank_zero.start()
    assert told.wait(10)
    host, port, token = said[0]
    assert host == "127.0.0.1"
    with socket.create_connection((host, port)) as stranger:
        stranger.sendall(bytes(len(token)) + (1).to_bytes(4, "big"))
        assert stranger.recv(1) == b""  # turned away
    (peer,) = connect(1, NAMES[:2], "", lambda mine: said[0])
    rank_zero.join(10)
    assert [other.node for other in found] == [1]
    found[0].connection.sendall(b".")
    assert peer.connection.recv(1) == b"."


def test_a_machine_that_cannot_connect_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = closed.getsockname()
    with pytest.raises(UserError, match="rank 1 on host-b cannot reach rank 0 on host-a at "):
        connect(1, NAMES, "", lambda mine: (*address, bytes(16)))


def test_rank_zero_names_the_machine_it_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "CONNECT_SECONDS", 0.1)
    with pytest.raises(UserError, match="rank 0 on host-a has waited .* for rank 1 on host-b"):
        connect(0, NAMES, "127.0.0.1", lambda mine: mine)


def _process(node: int, host: str, **versions: str) -> Process:
    return Process(node, host, "", {"torch": "2.13.0", "lightning": "2.6.1", **versions})


def test_machines_are_named_by_their_ranks() -> None:
    every = [_process(0, "host-a"), _process(0, "host-a"), _process(1, "host-b")]
    assert machine_names(every) == ["ranks 0 to 1 on host-a", "rank 2 on host-b"]


def test_other_versions_are_refused() -> None:
    refuse_other_versions([_process(0, "host-a"), _process(1, "host-b")])
    message = "host-b has torch 2.12.1, but host-a has torch 2.13.0; install the same"
    with pytest.raises(UserError, match=message):
        refuse_other_versions([_process(0, "host-a"), _process(1, "host-b", torch="2.12.1")])


def test_a_changed_module_is_another_version(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    module = tmp_path / "model" / "gpt.py"
    hashes = set()
    for text in ("n_layer = 12\n", "n_layer = 24\n"):
        module.write_text(text)
        hashes.add(source_hash(tmp_path))
    module.rename(tmp_path / "gpt.py")
    hashes.add(source_hash(tmp_path))
    (tmp_path / "notes.txt").touch()
    hashes.add(source_hash(tmp_path))
    assert sorted(map(len, hashes)) == [8, 8, 8]


@pytest.fixture
def found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[[Path], str | None]]:
    """`found(folder)`: the problem of a machine that sees `folder` in place of rank 0's."""
    monkeypatch.setattr(callback, "SHARED_SECONDS", 0.1)
    with RunLock(tmp_path / "run"):
        lock = (tmp_path / "run" / NAME).read_bytes()
        yield lambda folder: folder_problem(folder, lock, NAMES[0])


def test_a_folder_that_is_not_shared(found: Callable[[Path], str | None], tmp_path: Path) -> None:
    assert found(tmp_path / "run") is None
    (tmp_path / "own").mkdir()
    with RunLock(tmp_path / "own"):
        for other in (tmp_path / "own", tmp_path / "none"):
            problem = found(other)
            assert problem is not None
            assert f"run_dir={other} on {socket.gethostname()} is not the folder that " in problem
            assert f"{NAMES[0]} writes to; all machines need the same run_dir" in problem
