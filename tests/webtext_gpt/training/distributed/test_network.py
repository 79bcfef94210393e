"""Rank 0's machine is reached in time or the cause is named; gloo keeps off the loopback."""

import os
import socket
import threading
from typing import Any

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.training.distributed import network
from webtext_gpt.training.distributed.network import INTERFACE, choose_interface, facing, reach


@pytest.fixture
def port() -> int:
    """A port of the loopback at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_an_unknown_name_is_refused_at_once() -> None:
    with pytest.raises(UserError, match="rank 3 on .* cannot reach rank 0 at nobody.invalid:29500: "
                       "this machine knows no address of nobody.invalid"):  # fmt: skip
        reach("nobody.invalid", 29500, here="rank 3 on host-c", listens=False, named_by="A")


def test_an_address_where_nobody_listens(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.setattr(network, "REACH_SECONDS", 0.1)
    with pytest.raises(UserError, match=f"at 127.0.0.1:{port}: .* nothing listens there"):
        reach("127.0.0.1", port, here="host-b", listens=True, named_by="A")


def test_rank_zero_is_waited_for_and_the_wait_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, port: int
) -> None:
    monkeypatch.setattr(network, "REACH_SECONDS", 0.1)
    monkeypatch.setattr(network, "SAY_SECONDS", 0.5)
    servers: list[socket.socket] = []
    late = threading.Timer(2.5, lambda: servers.append(socket.create_server(("127.0.0.1", port))))
    late.start()
    reach("127.0.0.1", port, here="host-b", listens=False, named_by="A")
    late.join()
    servers[0].close()
    said = capsys.readouterr().out
    assert said.count(f"waits for rank 0: nothing listens at 127.0.0.1:{port} yet") == 1


def _named(monkeypatch: pytest.MonkeyPatch, address: str | None, **others: str) -> None:
    """Give this machine's name an address (None: it is unknown), and others interfaces."""

    def look_up(*_: Any, **__: Any) -> list[Any]:
        if address is None:
            raise socket.gaierror
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(network, "interfaces", lambda: others)
    monkeypatch.setenv(INTERFACE, "")  # restored at the end, whatever the function sets
    monkeypatch.delenv(INTERFACE)


@pytest.mark.parametrize("address", ["127.0.1.1", "::1", None])
def test_gloo_is_kept_off_the_loopback(
    address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    _named(monkeypatch, address, eth0="10.0.0.5", ib0="10.1.0.5")
    monkeypatch.setattr(network, "facing", lambda target: {"10.1.0.1": "10.1.0.5"}[target])
    choose_interface("10.1.0.1")
    assert os.environ[INTERFACE] == "ib0"


def test_nothing_is_set_where_the_name_leads_to_the_network_or_the_user_has_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _named(monkeypatch, "10.0.0.5", eth0="10.0.0.5", ib0="10.1.0.5")
    choose_interface("10.1.0.1")
    assert INTERFACE not in os.environ
    _named(monkeypatch, "127.0.1.1", eth0="10.0.0.5")
    monkeypatch.setenv(INTERFACE, "ib1")
    choose_interface("10.1.0.1")
    assert os.environ[INTERFACE] == "ib1"


def test_several_networks_and_none_that_leads_to_rank_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    _named(monkeypatch, None, eth0="10.0.0.5", ib0="10.1.0.5")
    monkeypatch.setattr(network, "facing", lambda target: "127.0.0.1")
    with pytest.raises(UserError, match=f"not evident among eth0, ib0; set {INTERFACE}"):
        choose_interface("first-machine")


def test_the_address_on_the_way_to_the_loopback() -> None:
    assert facing("127.0.0.1") == "127.0.0.1"
    assert "127.0.0.1" not in network.interfaces().values()
