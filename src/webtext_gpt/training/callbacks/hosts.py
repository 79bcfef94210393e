"""Check that the machines of a run fit together, and let them watch one another."""

import hashlib
import importlib.metadata
import os
import platform
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch.distributed as dist

import webtext_gpt
from webtext_gpt.errors import Stopped, UserError, explain
from webtext_gpt.training.distributed.hosts import HostWatch, connect
from webtext_gpt.training.distributed.joining import note_joined
from webtext_gpt.training.distributed.launcher import WatchedLauncher, report_failure
from webtext_gpt.training.distributed.network import facing
from webtext_gpt.training.run_lock import NAME

PACKAGES = ("webtext-gpt", "torch", "lightning", "deepspeed")
"""Packages that need the same version on all machines."""
SHARED_SECONDS = 10.0
"""Seconds that a network file system has to show a file of another machine."""


@dataclass(frozen=True)
class Process:
    """One process of a run, as it describes itself to the others."""

    node: int
    host: str
    address: str
    """The machine's address on the way to rank 0; empty on rank 0's own."""
    versions: dict[str, str]


class Hosts(L.Callback):
    """Compares versions and the run's folder on all machines, and starts a `HostWatch` on each.

    Args:
        run_dir: the run's folder, which rank 0 has locked.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._watch: HostWatch | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Compare the machines once the process group exists.

        Raises:
            UserError: they have different versions, or do not share the run's folder; raised on
                every process.
        """
        if trainer.num_nodes == 1:
            return
        is_first = trainer.node_rank == 0
        address = "" if is_first else facing(os.environ["MASTER_ADDR"])
        every = _gather(Process(trainer.node_rank, socket.gethostname(), address, _versions()))
        names = machine_names(every)
        if trainer.local_rank == 0:
            other = next(process.address for process in every if process.node > 0)
            peers = connect(trainer.node_rank, names, other, _from_rank_zero)
            self._watch = HostWatch(peers, names, _ending(trainer))
            self._watch.start()
            note_joined()
        else:
            _from_rank_zero(None)
        refuse_other_versions(every)
        lock = (self.run_dir / NAME).read_bytes() if trainer.is_global_zero else None
        lock = _from_rank_zero(lock)
        problem = None
        if trainer.local_rank == 0 and not is_first:
            problem = folder_problem(self.run_dir, lock, names[0])
        if problems := list(filter(None, _gather(problem))):
            raise UserError(problems[0])

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Tell the other machines that this one has finished."""
        if self._watch is not None:
            self._watch.close(failed=False)

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Tell the other machines that this one ends; after a signal all end by themselves."""
        if self._watch is not None:
            self._watch.close(failed=not isinstance(exception, (SystemExit, Stopped)))


def machine_names(every: Sequence[Process]) -> list[str]:
    """Return a description of each machine, such as `rank 1 on host-b`.

    Args:
        every: the processes by rank.
    """
    names = []
    for node in range(1 + max(process.node for process in every)):
        ranks = [rank for rank, process in enumerate(every) if process.node == node]
        of = f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {ranks[0]} to {ranks[-1]}"
        names.append(f"{of} on {every[ranks[0]].host}")
    return names


def refuse_other_versions(every: Sequence[Process]) -> None:
    """Refuse machines whose packages have other versions than rank 0's.

    Args:
        every: the processes by rank.

    Raises:
        UserError: names the first such machine and all packages that differ.
    """
    first = every[0]
    for process in every:
        pairs = zip(process.versions.items(), first.versions.values(), strict=True)
        differing = [(name, theirs, ours) for (name, theirs), ours in pairs if theirs != ours]
        if differing:
            theirs = ", ".join(f"{name} {version}" for name, version, _ in differing)
            ours = ", ".join(f"{name} {version}" for name, _, version in differing)
            raise UserError(
                f"{process.host} has {theirs}, but {first.host} has {ours}; install the same "
                "versions on all machines"
            )


def folder_problem(run_dir: Path, lock: bytes, first: str) -> str | None:
    """Return why a run's folder is not the one that rank 0 has locked; None if it is.

    Args:
        run_dir: the folder, as this machine sees it.
        lock: contents of the lock that rank 0 holds there.
        first: description of rank 0's machine.
    """
    here = f"run_dir={run_dir} on {socket.gethostname()}"
    advice = "all machines need the same run_dir on a shared file system"
    deadline = time.monotonic() + SHARED_SECONDS
    while True:
        try:
            # A network file system looks at a folder anew after a change by this machine.
            tempfile.TemporaryFile(dir=run_dir).close()
            found = (run_dir / NAME).read_bytes()
        except FileNotFoundError:
            found = b""
        except OSError as error:
            return f"{here} cannot be written to ({explain(error)}); {advice}, writable on each"
        if found == lock:
            return None
        if time.monotonic() > deadline:
            return f"{here} is not the folder that {first} writes to; {advice}"
        time.sleep(0.5)


def _versions() -> dict[str, str]:
    """Return the versions of Python, the packages, and our source, which may be a checkout."""
    found = {"Python": ".".join(platform.python_version_tuple()[:2])}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "(not installed)"
    found["webtext-gpt"] += f" with source {source_hash(Path(webtext_gpt.__file__).parent)}"
    return found


def source_hash(package: Path) -> str:
    """Return eight digits that change with any module of a package.

    Args:
        package: folder of the package.
    """
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{path.relative_to(package)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:8]


def _ending(trainer: L.Trainer) -> Callable[[str], None]:
    """Return a function that reports a cause and ends the processes that this one has started."""

    def end(cause: str) -> None:
        launcher = trainer.strategy.launcher
        if isinstance(launcher, WatchedLauncher) and launcher.watch is not None:
            launcher.watch.kill_silently()
        report_failure(cause)

    return end


def _gather(mine: Any) -> list[Any]:
    """Return the objects of all processes, by rank."""
    every = [None] * dist.get_world_size()
    dist.all_gather_object(every, mine)
    return every


def _from_rank_zero(mine: Any) -> Any:
    """Return the object of rank 0."""
    box = [mine]
    dist.broadcast_object_list(box)
    return box[0]
