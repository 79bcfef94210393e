"""End all hosts soon after one fails, even before all processes have joined.

torch waits half an hour for a process that never joins. Under torchrun, however, all hosts can
reach a store from the start. A process that fails writes the cause there, the first process of each
host gives signs of life, and the processes that wait to join look for both. Once all have joined,
`HostWatch` takes over. Under SLURM, `srun --kill-on-bad-exit=1` ends the other processes.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import torch.distributed as dist

from webtext_gpt.errors import UserError, explain
from webtext_gpt.terminal import say
from webtext_gpt.training.distributed.devices import external_launcher

BEAT_SECONDS = 2.0
SILENCE_SECONDS = 30.0
"""Seconds without a sign of life after which a host counts as gone."""
START_SECONDS = 20.0
"""Seconds that a waiting process gives another host to give its first sign of life."""
SAY_SECONDS = 25.0
"""Seconds without the processes of other hosts before rank 0 says that it waits for them."""
POLL_SECONDS = 1.0
CONNECT_SECONDS = 5.0
CONNECT_TRIES = 2
"""A connection is sometimes never answered; a second one then succeeds at once."""
FAILED = "failed"
"""Key of the store: the number of the host that failed first, a space, its rank, and why."""
JOINED = "joined "
"""Key of the store, followed by the number of a host: its `HostWatch` has begun."""


def torchrun_store() -> dist.Store | None:
    """Connect to torchrun's store; None without torchrun, on one host, or if it is gone."""
    if external_launcher() != "torchrun" or int(os.environ.get("GROUP_WORLD_SIZE", "1")) < 2:
        return None
    for _ in range(CONNECT_TRIES):
        with contextlib.suppress(dist.DistError):
            store = dist.TCPStore(
                os.environ["MASTER_ADDR"],
                int(os.environ["MASTER_PORT"]),
                timeout=timedelta(seconds=CONNECT_SECONDS),
                wait_for_workers=False,
            )
            prefix = f"webtext-gpt/{os.environ['TORCHELASTIC_RESTART_COUNT']}"
            return dist.PrefixStore(prefix, store)
    return None


@contextlib.contextmanager
def in_touch_with_other_hosts() -> Iterator[None]:
    """Give signs of life in the block until all have joined, and tell the others of an error."""
    store = torchrun_store()
    if store is None:
        yield
        return
    ended = threading.Event()
    if os.environ["LOCAL_RANK"] == "0":
        arguments = (store, os.environ["GROUP_RANK"], ended)
        threading.Thread(target=_beat, args=arguments, daemon=True, name="signs of life").start()
    try:
        yield
    except Exception as error:
        with contextlib.suppress(dist.DistError):
            if not _has_joined(store):
                _tell(store, _description(error))
        raise
    finally:
        ended.set()


def note_joined() -> None:
    """Note that this host's `HostWatch` has begun, which takes over from the store."""
    if (store := torchrun_store()) is not None:
        store.set(JOINED + os.environ["GROUP_RANK"], "")


def _has_joined(store: dist.Store) -> bool:
    return store.check([JOINED + os.environ["GROUP_RANK"]])


def _description(error: Exception) -> str:
    if isinstance(error, OSError):
        return explain(error)
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


def _beat(store: dist.Store, node: str, ended: threading.Event) -> None:
    with contextlib.suppress(dist.DistError):  # the store is gone, which waiting processes notice
        while not ended.is_set() and not store.check([JOINED + node]):
            store.add(node, 1)
            ended.wait(BEAT_SECONDS)


def _tell(store: dist.Store, cause: str) -> None:
    rank, node = os.environ["RANK"], os.environ["GROUP_RANK"]
    told = f"{node} rank {rank} on {socket.gethostname()} has failed: {cause}"
    store.compare_set(FAILED, "", told)
    time.sleep(2 * POLL_SECONDS)  # the store may end with this process


def wait_for_other_hosts(store: dist.Store, end: Callable[[str], None]) -> None:
    """Watch for a failed host until all processes have joined.

    Args:
        store: torchrun's store.
        end: called with the cause if there is such a host; the process is ended after it.
    """
    began = time.monotonic()
    others = {*range(int(os.environ["GROUP_WORLD_SIZE"]))} - {int(os.environ["GROUP_RANK"])}
    heard = dict.fromkeys(sorted(others), (0, began))
    """For each other host, the number of its signs of life, and when it last changed."""
    while True:
        try:
            if _has_joined(store):
                return
            cause = _failure(store, heard)
        except dist.DistError:
            cause = (
                f"torchrun on {os.environ['MASTER_ADDR']} has ended before all processes had "
                "joined; see the output there"
            )
        if cause:
            end(cause)
            os._exit(1)  # the main thread waits for the lost host and cannot be interrupted
        time.sleep(POLL_SECONDS)


def say_waiting(n_nodes: int, n_processes: int) -> None:
    """On rank 0, print after a while that processes of other hosts have yet to join.

    Args:
        n_nodes: number of hosts.
        n_processes: processes on each.
    """
    time.sleep(SAY_SECONDS)
    if not dist.is_initialized():
        say(
            f"rank 0 on {socket.gethostname()} waits for the other machines: "
            f"{n_nodes} x {n_processes} processes have to join; if this was the last line for "
            "minutes, see the output on the others"
        )


def _failure(store: dist.Store, heard: dict[int, tuple[int, float]]) -> str | None:
    """Return why the run cannot begin; update when each host was last heard."""
    if store.check([FAILED]):
        failed, _, cause = store.get(FAILED).decode().partition(" ")
        return None if failed == os.environ["GROUP_RANK"] else f"{cause} (all hosts end)"
    now = time.monotonic()
    for node, (count, since) in heard.items():
        found = store.add(str(node), 0)
        if found != count:
            heard[node] = (found, now)
        elif now - since > (SILENCE_SECONDS if count else START_SECONDS):
            return (
                f"the host of torchrun's --node-rank={node} has not "
                + (f"been heard of for {SILENCE_SECONDS:.0f} s" if count else "begun to train")
                + ": its process was killed, or has ended with an error that its output names"
            )
    return None
