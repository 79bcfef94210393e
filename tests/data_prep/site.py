"""A misbehaving web site on loopback that counts the requests it gets."""

import gzip
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TEXT = "The ferry left at dawn and nobody on the quay looked up from the nets. "


def page(path: str) -> bytes:
    body = "".join(f"<p>{TEXT * 5} This was {path}, part {n}.</p>" for n in range(8))
    head = f"<head><title>{path}</title></head>"
    return f"<html>{head}<body><article>{body}</article></body></html>".encode()


class Site:
    """The site; use it as a context manager. `hits` counts requests by path."""

    def __init__(
        self, pages: Callable[[str], bytes] = page, delay: float = 0.0, robots: int = 200
    ) -> None:
        self.robots = robots
        self.hits: Counter[str] = Counter()
        self.log: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                site.hits[self.path] += 1
                site.log.append(self.path)
                try:
                    site.answer(self, pages, delay)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.root = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> "Site":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, ask: Any, pages: Callable[[str], bytes], delay: float) -> None:  # noqa: PLR0911, PLR0912
        path = ask.path
        html = {"Content-Type": "text/html; charset=utf-8"}
        if path == "/robots.txt":
            return reply(
                ask,
                self.robots,
                b"User-agent: *\nDisallow: /private/\n",
                {"Content-Type": "text/plain"},
            )
        if path == "/slow":
            time.sleep(8)
        elif path == "/drip":
            start(ask, html)
            for _ in range(80):
                ask.wfile.write(b"x")
                ask.wfile.flush()
                time.sleep(0.1)
            return None
        elif path == "/endless":
            start(ask, html)
            while True:
                ask.wfile.write(b"endless " * 8192)
        elif path == "/loop":
            return reply(ask, 302, b"", {"Location": "/loop"})
        elif path == "/moved":
            return reply(ask, 301, b"", {"Location": "/ok/moved"})
        elif path == "/to-blocked":
            return reply(ask, 302, b"", {"Location": "http://en.wikipedia.org/wiki/X"})
        elif path == "/to-picture":
            return reply(ask, 302, b"", {"Location": "/x.jpg"})
        elif path.startswith("/patience") and self.hits[path] == 1:
            status = 429 if path.endswith("429") else 503
            return reply(ask, status, b"wait", {**html, "Retry-After": "1"})
        elif path == "/never":
            return reply(
                ask, 503, b"never", {**html, "Retry-After": "Thu, 01 Jan 2015 00:00:00 GMT"}
            )
        elif path == "/missing":
            return reply(ask, 404, b"missing", html)
        elif path == "/picture":
            return reply(ask, 200, b"\x89PNG" * 1000, {"Content-Type": "image/png"})
        elif path == "/bomb":
            return reply(
                ask, 200, gzip.compress(bytes(20_000_000)), {**html, "Content-Encoding": "gzip"}
            )
        elif path == "/packed":
            return reply(ask, 200, gzip.compress(pages(path)), {**html, "Content-Encoding": "gzip"})
        elif path == "/short":
            ask.send_response(200)
            ask.send_header("Content-Type", "text/html")
            ask.send_header("Content-Length", "1000")
            ask.end_headers()
            ask.wfile.write(b"only this")
            ask.close_connection = True
            return None
        time.sleep(delay)
        return reply(ask, 200, pages(path), html)


def start(ask: Any, headers: dict[str, str]) -> None:
    ask.send_response(200)
    for name, value in headers.items():
        ask.send_header(name, value)
    ask.send_header("Connection", "close")
    ask.close_connection = True
    ask.end_headers()


def reply(ask: Any, status: int, body: bytes, headers: dict[str, str]) -> None:
    ask.send_response(status)
    for name, value in headers.items():
        ask.send_header(name, value)
    ask.send_header("Content-Length", str(len(body)))
    ask.end_headers()
    ask.wfile.write(body)
