"""Tasks on a Ray cluster: connect to it, check its nodes, run a function over tasks.

A task returns a small record, and what it writes is in files that all nodes share. A task whose
node fails can therefore run again on another one, and gives the same bytes.
"""

import logging
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from data_prep.stage import workers
from data_prep.stage.nodes import node_check
from webtext_gpt.errors import UserError
from webtext_gpt.progress import progress_bar
from webtext_gpt.terminal import say

Task = TypeVar("Task")
Result = TypeVar("Result")

PORT_SECONDS = 5.0
"""Seconds in which the port of a head has to accept a connection."""
HEAD_SECONDS = 20.0
"""Seconds in which a head has to answer. Ray itself waits for minutes, or ends the process."""
NODE_SECONDS = 60.0
"""Seconds in which all nodes have to answer, which start a process for it."""
RETRIES = 3
"""Maximum reruns of a task whose process or node has ended."""
QUEUED = 2
"""Tasks that are handed to Ray for each core of the cluster."""

CONNECT = """
import sys, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, include_dashboard=False)
except Exception as error:
    print("error:", " ".join(str(error).split()), file=sys.stderr)
    sys.exit(1)
"""


def _ray() -> Any:
    """Import Ray, whose own types do not describe its decorators."""
    import ray.util.scheduling_strategies

    return ray


def join(address: str | None) -> None:
    """Connect to the cluster at `address`, or start a local one that ends with this process.

    Raises:
        UserError: Nobody listens at the address, no Ray cluster answers there within
            `HEAD_SECONDS`, it has another version of Ray or Python, or this machine is not one of
            its nodes.
    """
    ray = _ray()

    if ray.is_initialized():
        return
    if address is not None:
        if address != "auto":
            _refuse_silent_port(address)
        _refuse_bad_head(address)
    ray.init(
        address=address, log_to_driver=False, include_dashboard=False, logging_level=logging.WARNING
    )


def _refuse_silent_port(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), PORT_SECONDS).close()
    except socket.gaierror as error:
        fault = f"no host of the name {host} is known"
        raise UserError(f"engine.address={address}: {fault}; {_ADVICE}") from error
    except TimeoutError as error:
        fault = f"{host} does not answer within {PORT_SECONDS:.0f} s"
        raise UserError(
            f"engine.address={address}: {fault}; check that it runs, and that no firewall is "
            f"between, or {_ADVICE}"
        ) from error
    except OSError as error:
        fault = (
            f"nobody listens at port {port} of {host}"
            if isinstance(error, ConnectionRefusedError)
            else f"{host} cannot be reached ({error.strerror})"
        )
        raise UserError(f"engine.address={address}: {fault}; {_ADVICE}") from error


_ADVICE = (
    "give the address that `ray start --head` has printed, or auto on a machine that has joined"
)


def _refuse_bad_head(address: str) -> None:
    """Try to connect in a separate process, since Ray may block it for minutes, or abort it."""
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-c", CONNECT, address],
            capture_output=True, text=True, timeout=HEAD_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        if "InvalidAuthToken" in str(error.stderr):
            fault = (
                "the cluster asks for another token: set RAY_AUTH_MODE=token, and "
                "RAY_AUTH_TOKEN_PATH to the file that the head reads"
            )
        else:
            fault = f"no Ray head answers there within {HEAD_SECONDS:.0f} s; {_ADVICE}"
        raise UserError(f"engine.address={address}: {fault}") from error
    if done.returncode:
        raise UserError(f"engine.address={address}: {_explained(done.stderr, address)}")


def _explained(output: str, address: str) -> str:
    """Return a message that explains why `CONNECT` failed."""
    lines = [line for line in output.splitlines() if line.strip()]
    said = next((line[7:] for line in reversed(lines) if line.startswith("error: ")), "")
    if "ersion mismatch" in said:
        return f"{said} Install the same versions of Ray and Python on all machines"
    if "raylet" in output or "Raylet addresses" in said:
        here = socket.gethostname()
        return (
            f"{here} is not a node of that cluster, and a stage starts on one; run it on a node, "
            f"or let {here} join: ray start --address={address} (with --num-cpus=0, it runs no "
            "tasks)"
        )
    if address == "auto":
        return "no Ray runs on this machine; start it with `ray start`, or give HOST:PORT"
    return said or (lines[-1] if lines else "Ray ended without a message")


def check_nodes(files: Sequence[tuple[Path, int]], folder: Path) -> None:
    """Check the code and the data on each node, before any work.

    Args:
        files: Files that the tasks read, and their sizes in bytes.
        folder: Existing folder that the tasks write to.

    Raises:
        UserError: No node runs tasks; or a node does not answer, has other code, or does not see
            the files or the folder. A line for each such node.
    """
    ray = _ray()
    if not (nodes := _nodes()):
        raise UserError("no node of the Ray cluster has a core for tasks; start one: ray start")
    with node_check(files, folder) as look:
        asked = {}
        for node in nodes:
            here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
                node["NodeID"], soft=False
            )
            task = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=here)(look)
            asked[task.remote()] = node["NodeID"]
        ready, silent = ray.wait(list(asked), num_returns=len(asked), timeout=NODE_SECONDS)
        faults = {asked[ref]: f"does not answer within {NODE_SECONDS:.0f} s:" for ref in silent}
        for ref in ready:
            try:
                faults[asked[ref]] = ray.get(ref)
            except ray.exceptions.RayError as error:
                faults[asked[ref]] = f"ran no task: {str(error).strip().splitlines()[-1]}"
    # A node that has left meanwhile does not matter.
    said = [
        f"{node['NodeManagerHostname']} {fault}"
        for node in _nodes()
        if (fault := faults.get(node["NodeID"]))
    ]
    if said:
        raise UserError("\n".join([*said, "or take the node out of the cluster: ray stop"]))


def _nodes() -> list[dict[str, Any]]:
    """Return the nodes that run tasks."""
    ray = _ray()

    return [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]


def each(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    at_once: int | None,
    *,
    label: str,
    memory: int = 0,
) -> Iterator[tuple[Task, Result]]:
    """Run `function` over tasks on the nodes; yield (task, result) as each one ends.

    A task that fails does not stop the others. After all have ended, the error of the first task
    that failed is raised. A task whose process or node has ended runs again, `RETRIES` times. At
    the end, a line says how many tasks each host has run. `workers.advance` has no effect; the
    progress bar counts tasks.

    Args:
        function: Sent to the nodes once.
        tasks: Arguments, one for each call.
        at_once: Largest number of tasks at once. None means one per core of the cluster.
        label: Name of the progress bar.
        memory: Bytes that a task needs. Ray starts no more tasks on a node than have room.

    Raises:
        UserError: A task raised it, or its process was killed again and again.
    """
    ray = _ray()

    shared = ray.put(ray.cloudpickle.dumps(function))

    def call(pickled: bytes, task: Task) -> tuple[str, Result]:
        import socket

        from ray import cloudpickle

        from webtext_gpt.errors import UserError, explain

        host = socket.gethostname()
        try:
            return host, cloudpickle.loads(pickled)(task)
        except OSError as error:  # such as a folder that is missing on a node that joined late
            raise UserError(f"on {host}: {explain(error)}") from error

    room = max(int(node["Resources"].get("memory", 0)) for node in _nodes())
    needs = {"num_cpus": 1, "memory": min(memory, room)}
    run: Any = ray.remote(**needs, max_retries=RETRIES, scheduling_strategy="SPREAD")(call)
    left, waiting = list(reversed(range(len(tasks)))), dict[Any, int]()
    errors: dict[int, UserError] = {}
    by_host = Counter[str]()
    with progress_bar(label, total=len(tasks), unit="task") as bar:
        while left or waiting:
            most = at_once or QUEUED * int(ray.cluster_resources().get("CPU", 1))
            while left and len(waiting) < most:
                number = left.pop()
                waiting[run.remote(shared, tasks[number])] = number
            (done, *_), _ = ray.wait(list(waiting))
            number = waiting.pop(done)
            try:
                host, result = ray.get(done)
            except ray.exceptions.RayError as error:
                errors[number] = _user_error(error, label)
            else:
                by_host[host] += 1
                yield tasks[number], result
            bar.update()
    counts = ", ".join(f"{host} {count:,}" for host, count in sorted(by_host.items()))
    say(f"{label}: {by_host.total():,} tasks on Ray: {counts}")
    workers.raise_first(errors)


def _user_error(error: Any, label: str) -> UserError:
    """Return the error of a task as one for the user; raise it if it is a bug."""
    ray = _ray()

    cause = getattr(error, "cause", None)
    if isinstance(cause, UserError):
        return cause
    if isinstance(error, ray.exceptions.RayTaskError):
        raise error
    return UserError(
        f"{label}: the process of a task was killed {RETRIES + 1} times, most often for lack of "
        "memory; run the same command again to resume, with a smaller workers="
    )
