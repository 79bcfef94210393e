"""The command `serve.py`: what it prints, ports, browsers, the exported page, and its end."""

import logging
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import uvicorn

from webtext_gpt.checkpoint.load import LoadedModel
from webtext_gpt.errors import UserError
from webtext_gpt.explorer import command
from webtext_gpt.explorer.serving import PORT, listen, make_server

REPOSITORY = Path(__file__).parents[3]

Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that another program listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses that a browser is asked to open; the server ends at once."""
    addresses: list[str] = []
    monkeypatch.setattr(command, "open_browser", addresses.append)
    monkeypatch.setattr(uvicorn.Server, "run", lambda *_, **__: None)
    for name in ("SSH_CONNECTION", "SSH_TTY", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    return addresses


def test_it_prints_where_how_large_and_how_to_stop(
    call: Call, small_checkpoint: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command.getpass, "getuser", lambda: "ada")
    monkeypatch.setattr(command.socket, "gethostname", lambda: "cluster")
    result = call("serve.py", f"checkpoint={small_checkpoint}", "port=0")
    assert result.returncode == 0, result.stderr
    model, memory, ssh, explorer = result.stdout.splitlines()
    assert model.endswith("small.ckpt: 36,480 parameters")
    assert "0.1 MiB" in memory  # 36,480 parameters of 4 bytes
    port = explorer.split("127.0.0.1:")[1].split()[0]
    assert explorer.endswith("(Ctrl-C stops it)")
    assert ssh.endswith(f"ssh -N -L {port}:127.0.0.1:{port} ada@cluster")
    assert opened == []


@pytest.mark.parametrize(
    ("environment", "given", "is_opened"),
    [
        ({"DISPLAY": ":0"}, [], True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, [], True),
        ({"DISPLAY": ":0"}, ["open=false"], False),
        ({"DISPLAY": "localhost:10", "SSH_CONNECTION": "1 2 3 4"}, [], False),
        ({"SSH_CONNECTION": "1 2 3 4"}, ["open=true"], True),
        ({}, [], False),
    ],
)
def test_the_browser_is_opened_where_there_is_one(
    call: Call,
    small_checkpoint: Path,
    opened: list[str],
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    given: list[str],
    is_opened: bool,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    result = call("serve.py", f"checkpoint={small_checkpoint}", "port=0", *given)
    assert result.returncode == 0, result.stderr
    address = result.stdout.splitlines()[-1].split()[1]
    assert opened == ([address] if is_opened else [])
    has_display = bool(environment) and "SSH_CONNECTION" not in environment
    assert ("ssh -N" in result.stdout) != has_display


def test_a_port_in_use_is_refused_before_the_model_is_loaded(call: Call, taken: int) -> None:
    result = call("serve.py", "checkpoint=absent", f"port={taken}")
    assert result.returncode == 1
    assert result.stderr == (
        f"\nerror: port={taken} is in use; give another, or port=0 for a free one\n"
    )


def test_without_a_port_a_free_one_is_found(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webtext_gpt.explorer.serving.PORT", taken)
    with listen(None) as listener:
        address, port = listener.getsockname()
        assert (address, port != taken) == ("127.0.0.1", True)
    assert PORT == 8000


def test_two_explorers_that_start_together_get_two_ports() -> None:
    with listen(0) as first:
        port = first.getsockname()[1]
        with pytest.raises(UserError, match=f"port={port} is in use"):
            listen(port)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may use every port")
def test_a_port_that_may_not_be_used_is_refused() -> None:
    with pytest.raises(UserError, match="port=80 cannot be used"):
        listen(80)


def test_wrong_settings_are_refused(call: Call, small_checkpoint: Path, tmp_path: Path) -> None:
    given = f"checkpoint={small_checkpoint}"
    (tmp_path / "there.html").touch()
    for arguments, sentence in (
        (["serve.py"], "checkpoint"),
        (["serve.py", "checkpoint=absent", "port=0"], "absent does not exist"),
        (["serve.py", given, "port=70000"], "0 to 65,535"),
        (["serve.py", given, "export=a.html", "compare=b"], "leave compare= out"),
        (["serve.py", given, f"export={tmp_path}/there.html"], "exists; remove it"),
        (["serve.py", given, f"export={tmp_path}/page.txt"], "must end in .html"),
        (["serve.py", given, f"export={tmp_path}"], "is a folder"),
    ):
        result = call(*arguments)
        assert result.returncode == 1, arguments
        assert sentence in result.stderr


def test_the_page_is_exported_with_the_models_name(
    call: Call, small_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def export_page(loaded: LoadedModel, name: str, path: Path) -> None:
        given.extend([loaded, name, path])
        path.write_text("x" * 2_500_000)

    fake = ModuleType("webtext_gpt.explorer.export")
    fake.export_page = export_page
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    page = tmp_path / "page.html"
    result = call("serve.py", f"checkpoint={small_checkpoint}", f"export={page}")
    assert result.returncode == 0, result.stderr
    assert given[0].model.config.n_layer == 2
    assert given[1:] == ["small.ckpt", page]
    assert result.stdout.splitlines() == [
        "page        2.5 MB; any browser opens it",
        f"written     {page}",
    ]


def test_it_serves_until_ctrl_c(small_checkpoint: Path) -> None:
    arguments = [f"checkpoint={small_checkpoint}", "port=0", "open=false"]
    with subprocess.Popen(
        [sys.executable, "serve.py", *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            lines = iter(process.stdout.readline, "")
            explorer = next(line for line in lines if line.startswith("explorer"))
            with urllib.request.urlopen(explorer.split()[1], timeout=60) as response:
                assert b"<title>webtext-gpt explorer</title>" in response.read()
            process.send_signal(signal.SIGINT)
            rest, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, rest, errors) == (0, "\nstopped\n", "")


def test_the_logging_of_the_process_is_left_alone() -> None:
    closed: list[bool] = []

    class Handler(logging.NullHandler):
        def close(self) -> None:
            closed.append(True)
            super().close()

    handler = Handler()
    logging.getLogger("somebody").addHandler(handler)
    make_server(lambda scope, receive, send: None)
    assert closed == []
    assert handler in logging.getLogger("somebody").handlers
    logging.getLogger("somebody").removeHandler(handler)
