"""The server: a socket on 127.0.0.1, and HTTP/1.1 with time limits."""

import asyncio
import errno
import socket

import h11
from starlette.types import ASGIApp
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from webtext_gpt.errors import UserError

ADDRESS = "127.0.0.1"
PORT = 8000
HEAD_SECONDS = 10.0
"""Seconds within which a request's head has to arrive, from the connection or its first byte."""
MOST_CONNECTIONS = 200
"""Maximum connections at a time; a browser opens six."""


def listen(port: int | None) -> socket.socket:
    """Return a socket that listens on this machine; connections wait until the server runs.

    Args:
        port: 0 for a free one; None for `PORT`, or a free one if that is taken.

    Raises:
        UserError: the port is in use, or may not be used.
    """
    # With the protocol named, asyncio sends small packets at once: 40 ms less for each request.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((ADDRESS, PORT if port is None else port))
        listener.listen()  # until then, another program could take the port too
    except OSError as error:
        listener.close()
        if port is None:
            return listen(0)
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"port={port} is in use; give another, or port=0 for a free one") from (
                error
            )
        raise UserError(f"port={port} cannot be used ({error.strerror}); give another") from error
    return listener


def make_server(application: ASGIApp) -> Server:
    """Return a server, which runs with `server.run(sockets=[...])` until it is interrupted."""
    return Server(
        Config(
            application,
            loop="asyncio",
            http=PatientProtocol,
            ws="none",
            lifespan="off",
            log_config=None,  # its own would close the handlers of all loggers in the process
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=16_384,
        )
    )


class PatientProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, with a limit on the time in which the head of a request arrives."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time limit of the first request."""
        super().connection_made(transport)
        self._late = self.loop.call_later(HEAD_SECONDS, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the time limit."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; the time limit runs until they complete a request's head."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._late is None:
            self._late = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
