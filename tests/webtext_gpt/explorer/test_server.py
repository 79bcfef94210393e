"""The server answers its own page, and refuses or survives everything else."""

import http.client
import json
import resource
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from webtext_gpt.checkpoint.load import load
from webtext_gpt.explorer import guards, serving
from webtext_gpt.explorer.application import make_application
from webtext_gpt.explorer.inspector import Inspector
from webtext_gpt.explorer.serving import listen, make_server
from webtext_gpt.explorer.workspace import Workspace
from webtext_gpt.generation.texts import next_tokens
from webtext_gpt.paths import local_path

JSON = {"Content-Type": "application/json"}
TEXT = "the cat sees"


@pytest.fixture(scope="module")
def workspace(small_checkpoint: Path) -> Workspace:
    return Workspace(str(small_checkpoint))


@pytest.fixture(scope="module")
def port(workspace: Workspace) -> Iterator[int]:
    """Port of a server in a thread."""
    listener = listen(0)
    server = make_server(make_application(workspace))
    thread = threading.Thread(target=server.run, args=[[listener]])
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


def ask(
    port: int,
    path: str,
    body: bytes | dict[str, Any] | None = None,
    method: str | None = None,
    **headers: str,
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Send one request; return the status, headers and body of the response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(
            method or ("GET" if body is None else "POST"),
            path,
            data,
            {**(JSON if body is not None else {}), **given},
        )
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def problem(port: int, path: str, *args: Any, **more: str) -> tuple[int, str]:
    """Send a request that is refused; return its status and the sentence."""
    status, _, body = ask(port, path, *args, **more)
    return status, json.loads(body)["error"]


def raw(port: int, data: bytes) -> bytes:
    """Send bytes; return all that comes until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(data)
        received = b""
        while chunk := connection.recv(65_536):
            received += chunk
        return received


def assert_it_still_answers(port: int) -> None:
    assert ask(port, "/api/tokens", {"text": TEXT})[0] == 200


def test_the_next_tokens_are_those_of_generate(port: int, small_checkpoint: Path) -> None:
    loaded = load(small_checkpoint)
    (expected,) = next_tokens(loaded.model, loaded.tokenizer, TEXT, n=10, steps=1)
    status, headers, body = ask(port, "/api/next", {"text": TEXT})
    assert (status, headers["content-type"]) == (200, "application/json")
    found = json.loads(body)["tokens"]
    assert [token["id"] for token in found] == [candidate.token for candidate in expected]
    assert [token["probability"] for token in found] == pytest.approx(
        [candidate.probability for candidate in expected], abs=1e-5
    )


def test_numbers_in_bulk_are_little_endian_float32(port: int, small_checkpoint: Path) -> None:
    model = load(small_checkpoint).model
    status, headers, body = ask(port, "/api/positions")
    assert (status, headers["x-rows"], headers["x-columns"]) == (200, "64", "32")
    assert headers["x-kind"] == "learned"
    expected = model.wpe.weight.detach().flatten().tolist()
    assert list(struct.unpack("<2048f", body)) == expected
    n = len(Inspector(load(small_checkpoint)).tokens(TEXT)["tokens"])
    body = ask(port, "/api/attention", {"text": TEXT, "layer": 1, "head": None})[2]
    rows = np.frombuffer(body, "<f4")
    assert rows.size == n * (n + 1) // 2
    assert rows[0] == 1  # the first token attends to itself alone


def test_requests_on_one_connection_do_not_wait_for_acknowledgements(port: int) -> None:
    """Without TCP_NODELAY each of them takes at least the 40 ms of a delayed acknowledgement."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    seconds = []
    for _ in range(30):
        start = time.perf_counter()
        connection.request("GET", "/api/model")
        connection.getresponse().read()
        seconds.append(time.perf_counter() - start)
    connection.close()
    assert min(seconds) < 0.03


def test_the_page_may_load_and_run_only_what_the_server_ships(port: int) -> None:
    pages = [("/", 200), ("/static/main.js", 200), ("/api/model", 200), ("/nothing", 404)]
    for path, expected in [*pages, ("/api/next", 405)]:
        status, headers, _ = ask(port, path)
        assert status == expected
        policy = dict(part.strip().split(" ", 1) for part in
                      headers["content-security-policy"].split(";"))  # fmt: skip
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert policy["frame-ancestors"] == "'none'"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "javascript" in ask(port, "/static/main.js")[1]["content-type"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"text": "a", "temperature": NaN}', "not JSON"),
        (b'{"text": "\xff"}', "not UTF-8"),
        (b'{"text": "\\ud800"}', "not JSON"),
        (b"[" * 100_000, "expected object, got array"),
        (b'{"text": ' * 100_000, "text: expected str, got object"),
        (b"null", "expected object, got null"),
        ({}, "missing required field text"),
        ({"text": "a", "colour": 1}, "unknown field colour"),
        ({"text": 1}, "text: expected str, got int"),
        ({"text": None}, "text: expected str, got null"),
        ({"text": "a", "n": "3"}, "n: expected int, got str"),
        ({"text": "a", "n": True}, "n: expected int, got bool"),
        ({"text": "a", "n": 0}, "n: expected int >= 1"),
        ({"text": "a", "n": 10**30}, "n: expected int <= 1000"),
        ({"text": "a", "temperature": -1}, "temperature: expected float >= 0"),
        ({"text": "a", "top_p": 0}, "top_p: expected float > 0"),
        ({"text": "a", "top_k": 1.5}, "top_k: expected int | null, got float"),
        ({"text": "a", "checkpoint": ["a"]}, "checkpoint: expected str | null, got array"),
        ({"text": "a" * 100_001}, "text: expected str of length <= 100000"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_wrong_request_is_refused_with_a_sentence_that_names_the_field(
    port: int, body: bytes | dict[str, Any], sentence: str
) -> None:
    status, found = problem(port, "/api/next", body)
    assert status == 400
    assert sentence in found


def test_what_the_model_does_not_have_is_refused(port: int) -> None:
    layer = {"text": TEXT, "layer": 2, "head": 0}
    assert problem(port, "/api/attention", layer)[0] == 400
    assert problem(port, "/api/heads", {"text": TEXT, "position": 1000})[0] == 400
    assert problem(port, "/api/neighbours", {"id": 280})[0] == 400
    status, sentence = problem(port, "/api/classify", {"text": TEXT})
    assert (status, "of a language model" in sentence) == (400, True)
    for answered in (
        problem(port, "/api/next", {"text": "a", "checkpoint": "../../etc/passwd"}),
        problem(port, "/api/model?checkpoint=step-1"),
        problem(port, "/api/positions?checkpoint=%00"),
    ):
        assert answered[0] == 404
        assert "does not exist, or the run has removed it; there are model" in answered[1]
    status, sentence = problem(port, "/api/curve")
    assert (status, "not in a run's folder" in sentence) == (400, True)


def test_a_text_of_the_longest_length_is_cut(port: int) -> None:
    status, _, body = ask(port, "/api/next", {"text": "\u20ac" * 100_000, "n": 1})
    assert status == 200
    found = json.loads(body)
    assert found["n_tokens"] == 64  # the context
    assert found["n_cut"] > 0


def test_too_long_a_body_is_refused_whether_its_length_is_told_or_not(port: int) -> None:
    long = b'{"text": "' + b" " * (1 << 20) + b'"}'
    status, sentence = problem(port, "/api/next", long)
    assert (status, "1,048,576 bytes" in sentence) == (413, True)
    head = (
        f"POST /api/next HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    chunks = f"{len(long):x}\r\n".encode() + long + b"\r\n0\r\n\r\n"
    assert raw(port, head.encode() + chunks).startswith(b"HTTP/1.1 413 ")
    assert_it_still_answers(port)


@pytest.mark.parametrize(
    "path",
    [
        "/static/../application.py",
        "/static/%2e%2e/application.py",
        "/static/..%2fapplication.py",
        "/static/views/../../application.py",
        "/static/....//application.py",
        "/static//etc/passwd",
        "/static/%2fetc/passwd",
        "/static/main.js%00.css",
        "/static/" + "a" * 5000,
        "/static/views",
        "/static/",
        "/static",
        "/application.py",
        "/api",
        "/api/../application.py",
    ],
    ids=lambda path: path[:30],
)
def test_no_path_leads_out_of_the_pages_folder(port: int, path: str) -> None:
    status, headers, body = ask(port, path)
    assert status in (307, 404), body
    assert b"import" not in body
    assert b"root:" not in body
    if status == 307:
        assert headers["location"] == f"http://127.0.0.1:{port}/static/"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "a@127.0.0.1", ""])
def test_another_host_is_refused(port: int, host: str) -> None:
    for path in ("/", "/static/main.js", "/api/model"):
        status, sentence = problem(port, path, Host=host)
        assert (status, "is not this machine" in sentence) == (403, True)
    assert problem(port, "/api/next", {"text": ""}, Host=host)[0] == 403


def test_this_machine_has_three_names_at_any_port(port: int) -> None:
    for host in ("127.0.0.1", "localhost:9000", "LOCALHOST", "[::1]:9000"):
        assert ask(port, "/api/model", Host=host)[0] == 200
    assert raw(port, b"GET /api/model HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 403 ")


def test_other_sites_cannot_ask(port: int) -> None:
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{port + 1}", ""):
        assert problem(port, "/api/next", {"text": ""}, Origin=origin)[0] == 403
        assert problem(port, "/api/model", Origin=origin)[0] == 403
    for site in ("cross-site", "same-site"):
        assert problem(port, "/api/model", Sec_Fetch_Site=site)[0] == 403
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        assert problem(port, "/api/next", b'{"text": ""}', Content_Type=kind)[0] == 415
    own = {"Origin": f"http://127.0.0.1:{port}", "Sec_Fetch_Site": "same-origin"}
    assert ask(port, "/api/next", {"text": ""}, **own)[0] == 200
    assert ask(port, "/", Sec_Fetch_Site="cross-site")[0] == 200  # a link to the page


def test_wrong_methods_are_refused(port: int) -> None:
    for path, methods in (
        ("/api/next", ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "FOO")),
        ("/api/model", ("POST", "DELETE", "OPTIONS")),
        ("/", ("POST", "PUT", "OPTIONS")),
        ("/static/main.js", ("POST", "DELETE")),
    ):
        for method in methods:
            status, headers, _ = ask(port, path, method=method)
            assert status == 405
            assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000,
        b"POST /api/next HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n",
    ],
    ids=lambda data: repr(data[:20]),
)
def test_what_is_not_http_is_refused(port: int, data: bytes) -> None:
    assert raw(port, data).startswith(b"HTTP/1.1 400 ")
    assert_it_still_answers(port)


def test_a_websocket_is_not_opened(port: int) -> None:
    status = ask(port, "/api/model", Connection="Upgrade", Upgrade="websocket")[0]
    assert status == 200  # an ordinary response


def test_slow_clients_are_left(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "HEAD_SECONDS", 0.4)
    monkeypatch.setattr(guards, "BODY_SECONDS", 0.4)
    head = f"POST /api/next HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n".encode()
    assert raw(port, b"") == b""
    assert raw(port, head) == b""
    rest = b"Content-Type: application/json\r\nContent-Length: 20\r\nConnection: close\r\n\r\n{"
    answered = raw(port, head + rest)
    assert answered.startswith(b"HTTP/1.1 408 ")
    assert b"did not arrive within 0.4 s" in answered
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        request = f"HEAD / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"
        connection.sendall(request.encode())
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
        start = time.monotonic()
        with pytest.raises(OSError, match="reset|Broken|closed"):  # noqa: PT012
            while time.monotonic() - start < 20:
                connection.sendall(b"G")  # the next request, a byte at a time
                time.sleep(0.05)
    assert_it_still_answers(port)


def test_a_thousand_requests_at_once_are_answered_or_refused(port: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < 3000:
        pytest.skip("this process may not open 2,000 sockets")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    body = json.dumps({"text": TEXT}).encode()
    head = (
        f"POST /api/tokens HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    connections = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(1000)]
    for connection in connections:
        connection.sendall(head.encode() + body)
    statuses = []
    for connection in connections:
        statuses.append(int(connection.recv(65_536).split()[1]))
        connection.close()
    assert set(statuses) <= {200, 503}
    assert statuses.count(503) > 0
    time.sleep(0.2)
    assert_it_still_answers(port)


def test_waiting_requests_are_few_and_are_told_to_come_again(
    port: int, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()

    def slow(*_: object) -> dict[str, Any]:
        begun.release()
        go_on.wait(30)
        return {}

    monkeypatch.setattr(workspace, "compute", slow)
    statuses: list[int] = []

    def one() -> None:
        statuses.append(ask(port, "/api/tokens", {"text": ""})[0])

    threads = [threading.Thread(target=one) for _ in range(40)]
    for thread in threads:
        thread.start()
    assert begun.acquire(timeout=20)
    assert begun.acquire(timeout=20)
    deadline = time.monotonic() + 20
    while len(statuses) < 8 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert statuses == [503] * 8
    assert problem(port, "/api/model") == (
        503,
        "the server is busy with other requests; ask again in a moment",
    )
    assert ask(port, "/static/main.js")[0] == 200
    assert not begun.acquire(blocking=False)  # two at a time
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert statuses == [503] * 8 + [200] * 32


def test_a_bug_is_told_without_its_traceback(
    port: int, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError(f"secret of {local_path('.')}")

    monkeypatch.setattr(workspace, "compute", broken)
    status, sentence = problem(port, "/api/tokens", {"text": ""})
    assert (status, sentence) == (500, "RuntimeError in the server; the terminal shows where")
