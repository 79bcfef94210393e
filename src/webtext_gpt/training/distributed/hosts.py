"""The machines of a run watch one another, so that all end soon after one is gone.

A machine that loses its power or its network leaves the others waiting in a collective operation,
for half an hour. The first process of each machine therefore keeps a connection to rank 0, and both
send a sign of life every few seconds. A closed connection or a long silence ends the run, with a
message that names the machine and its ranks.
"""

import contextlib
import os
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from webtext_gpt.checkpoint.background import is_writing
from webtext_gpt.errors import UserError
from webtext_gpt.training.distributed.network import facing

BEAT_SECONDS = 3.0
SILENCE_SECONDS = 40.0
"""Seconds without a sign of life after which a machine counts as gone."""
SETTLE_SECONDS = 5.0
"""Seconds that this machine has to end by itself after another has failed."""
CONNECT_SECONDS = 20.0
TOKEN_BYTES, NODE_BYTES = 16, 4
"""Length of a greeting: a secret of the run, and the machine's number."""
BEAT, DONE, FAILED = b".", b"D", b"F"
"""Messages of a machine: it is alive, has finished, or ends with an error that it reports."""
LOST = b"L"
"""Followed by the number of a machine: rank 0 ends, because that machine is gone."""


@dataclass
class Peer:
    """A machine at the other end of a connection."""

    node: int
    connection: socket.socket
    heard: float = field(default_factory=time.monotonic)
    """When it last gave a sign of life, in seconds of the monotonic clock."""


class HostWatch(threading.Thread):
    """Thread that exchanges signs of life with other machines and ends the run if one is gone.

    Args:
        peers: the machines connected to this one: on rank 0's all others, elsewhere rank 0's.
        names: for each machine its ranks and name, as in `rank 1 on host-b`.
        end: called with the cause before the process is ended.
    """

    def __init__(
        self, peers: Sequence[Peer], names: Sequence[str], end: Callable[[str], None]
    ) -> None:
        super().__init__(daemon=True, name="host watch")
        self.peers = list(peers)
        self.names = names
        self.end = end
        self._closed = threading.Event()

    def run(self) -> None:
        """Exchange signs of life until `close`."""
        with selectors.DefaultSelector() as selector:
            for peer in self.peers:
                selector.register(peer.connection, selectors.EVENT_READ, peer)
            due = time.monotonic()
            while not self._closed.is_set() and self.peers:
                if time.monotonic() >= due:
                    self._tell(BEAT)
                    due = time.monotonic() + BEAT_SECONDS
                for key, _ in selector.select(BEAT_SECONDS / 4):
                    if not self._listen(key.data):
                        selector.unregister(key.fileobj)
                for peer in self.peers:
                    if time.monotonic() - peer.heard > SILENCE_SECONDS:
                        self._lost(peer.node, f"has not answered for {SILENCE_SECONDS:.0f} s")

    def close(self, *, failed: bool) -> None:
        """Tell the other machines that this one ends.

        Args:
            failed: whether this machine ends with an error, so that the others have to end, too.
        """
        if not self._closed.is_set():
            self._closed.set()
            self._tell(FAILED if failed else DONE)

    def _tell(self, word: bytes) -> None:
        for peer in self.peers:
            with contextlib.suppress(OSError):  # a closed connection is noticed on reading
                peer.connection.sendall(word)

    def _listen(self, peer: Peer) -> bool:
        """Read a machine's messages; return whether more can follow."""
        try:
            words = peer.connection.recv(4096)
        except OSError:
            words = b""
        peer.heard = time.monotonic()
        if LOST in words:
            node = int(words.partition(LOST)[2].partition(b"\n")[0])
            self._finish(f"{self.names[node]} is gone, as rank 0 reports")
        elif FAILED in words:
            self._wait_for_own_end()
            self._finish(f"{self.names[peer.node]} has ended with an error; its output names it")
        elif DONE in words:
            self.peers.remove(peer)
        elif not words:
            self._lost(peer.node, "has closed the connection")
        return bool(words) and peer in self.peers

    def _lost(self, node: int, what: str) -> None:
        self._wait_for_own_end(0)
        self._tell(LOST + str(node).encode() + b"\n")
        self._finish(
            f"{self.names[node]} is gone: it {what}; "
            "was the process killed, the machine switched off, or the network down?"
        )

    def _wait_for_own_end(self, seconds: float = SETTLE_SECONDS) -> None:
        """Give this machine time to report an error of its own and to complete a checkpoint."""
        self._closed.wait(seconds)
        while is_writing():  # it may be the newest that there will be
            time.sleep(BEAT_SECONDS / 10)

    def _finish(self, cause: str) -> None:
        if not self._closed.is_set():
            self.end(cause)
            os._exit(1)  # the main thread waits for the lost machine and cannot be interrupted


def connect(
    node: int, names: Sequence[str], address: str, exchange: Callable[[Any], Any]
) -> list[Peer]:
    """Connect rank 0 and the first process of every other machine; a collective operation.

    Args:
        node: number of this machine; rank 0 is on machine 0.
        names: see `HostWatch`.
        address: an address of another machine, by which rank 0 finds the network to listen on.
        exchange: returns rank 0's argument on every process.

    Returns:
        The connected machines.

    Raises:
        UserError: a machine cannot be reached; names it.
    """
    if node > 0:
        host, port, token = exchange(None)
        try:
            connection = socket.create_connection((host, port), CONNECT_SECONDS)
            connection.sendall(token + node.to_bytes(NODE_BYTES, "big"))
        except OSError as error:
            cause = error.strerror or error
            raise UserError(
                f"{names[node]} cannot reach {names[0]} at {host}:{port}: {cause}; the machines of "
                "a run need to reach one another at every port"
            ) from None
        return [Peer(0, connection)]
    token = secrets.token_bytes(TOKEN_BYTES)
    peers: dict[int, Peer] = {}
    with socket.create_server((facing(address), 0), backlog=len(names)) as server:
        server.settimeout(CONNECT_SECONDS)
        exchange((*server.getsockname()[:2], token))
        while len(peers) < len(names) - 1:
            try:
                connection, _ = server.accept()
                connection.settimeout(CONNECT_SECONDS)
                greeting = connection.recv(TOKEN_BYTES + NODE_BYTES, socket.MSG_WAITALL)
            except OSError:
                missing = [name for n, name in enumerate(names) if n > 0 and n not in peers]
                raise UserError(
                    f"{names[0]} has waited {CONNECT_SECONDS:.0f} s for {missing[0]}, which "
                    "cannot reach it or has ended; see the output there"
                ) from None
            if secrets.compare_digest(greeting[:TOKEN_BYTES], token):
                found = int.from_bytes(greeting[TOKEN_BYTES:], "big")
                peers[found] = Peer(found, connection)
            else:
                connection.close()
    return list(peers.values())
