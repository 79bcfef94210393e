"""Start the processes of one machine, and end them all soon after one of them dies.

A process that dies leaves the others waiting in a collective operation, on GPUs for half an hour.
Rank 0 therefore watches the processes that it started, and they watch rank 0. The cause of a
failure is reported once: by the process that failed or, if it was killed, by one that noticed.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import lightning as L
import torch
from lightning.pytorch.plugins.environments import ClusterEnvironment
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from webtext_gpt.checkpoint.background import is_writing
from webtext_gpt.errors import EXIT_PREEMPTED, Stopped, UserError
from webtext_gpt.terminal import say
from webtext_gpt.training.distributed.devices import external_launcher
from webtext_gpt.training.distributed.joining import (
    say_waiting,
    torchrun_store,
    wait_for_other_hosts,
)
from webtext_gpt.training.distributed.network import choose_interface, reach
from webtext_gpt.training.lightning_internals import (
    SubprocessLauncher,
    set_num_threads,
    subprocess_command,
)

PARENT = "WEBTEXT_GPT_PARENT"
"""Environment variable of a started process: the id of the process that started it."""
RUN_DIR = "WEBTEXT_GPT_RUN_DIR"
"""Environment variable of a started process: the run's folder, often named by rank 0's clock."""
CHOSEN = "WEBTEXT_GPT_CHECKPOINT"
"""Environment variable of a started process: the checkpoint that rank 0 resumes, or empty."""
POLL_SECONDS = 0.2
SPEAK_SECONDS = 3.0
"""Seconds a non-zero rank waits before reporting, so that rank 0 reports shared errors."""
LOST_SECONDS = 15.0
"""Seconds to wait for the cause of an error that only says that another process is gone."""
STUCK_SECONDS = 5.0
"""Seconds that rank 0 has to notice another process's death by itself."""


class Watch(threading.Thread):
    """Thread that polls the started processes and ends the run when one fails.

    Args:
        processes: the processes of local ranks 1, 2, ...
    """

    def __init__(self, processes: list[subprocess.Popen[bytes]]) -> None:
        super().__init__(daemon=True, name="watch")
        self.processes = processes
        self._reporting = threading.Lock()  # held by the thread that reports why the run ended

    def run(self) -> None:
        """Poll until all have succeeded; end the run if the main thread misses a death."""
        while any(process.poll() is None for process in self.processes) or self.death():
            if self.death():
                time.sleep(STUCK_SECONDS)
                if is_writing():
                    while is_writing():  # the checkpoint may be the newest that there will be
                        time.sleep(POLL_SECONDS)
                    time.sleep(STUCK_SECONDS)  # the main thread may have waited for it, too
                if self._reporting.acquire(blocking=False):
                    self._end()
                return
            time.sleep(POLL_SECONDS)

    def death(self) -> str | None:
        """Describe how the first failed process ended; `None` if none has failed."""
        for rank, process in enumerate(self.processes, start=1):
            code = process.poll()
            if code is not None and code < 0:
                name = signal.Signals(-code).name
                hint = "; was the machine out of memory?" if name == "SIGKILL" else ""
                return f"the process of rank {rank} (pid {process.pid}) was ended by {name}{hint}"
            if code not in (None, 0, EXIT_PREEMPTED):
                return f"the process of rank {rank} ended with code {code}; its message is above"
        return None

    def explain(self, error: BaseException) -> str | None:
        """Describe the death that caused this process's error; `None` if no death did."""
        self._reporting.acquire()
        deadline = time.monotonic() + (LOST_SECONDS if _lost_another(error) else 0)
        while not (death := self.death()) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return death

    def kill(self) -> None:
        """Kill the processes at once; readers ignore the partial files they leave."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()

    def kill_silently(self) -> None:
        """Kill the processes without a report: the user has asked for it."""
        self._reporting.acquire(blocking=False)
        self.kill()

    def join_processes(self, seconds: float = 60.0) -> None:
        """Wait for the processes to end by themselves."""
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)

    def _end(self) -> NoReturn:
        self.kill()
        report_failure(f"{self.death()}")
        os._exit(1)  # the main thread waits for the dead process and cannot be interrupted


class WatchedLauncher(SubprocessLauncher):
    """Lightning's launcher with a single run folder, a single log, and watched processes.

    Attributes:
        watch: watches the processes that this one has started; None if torchrun or SLURM has
            started them.
    """

    watch: Watch | None = None

    def launch(
        self,
        function: Callable[..., Any],
        *args: Any,
        trainer: L.Trainer | None = None,
        **kwargs: Any,
    ) -> Any:
        """Start this machine's other processes, unless torchrun or SLURM has; call `function`.

        Raises:
            UserError: another process failed or was killed, or rank 0's machine cannot be reached.
        """
        self.cluster_environment.validate_settings(
            num_devices=self.num_processes, num_nodes=self.num_nodes
        )
        watch = None
        if not self.cluster_environment.creates_processes_externally:
            opened = trainer.strategy.checkpoint_io.opened if trainer else None
            os.environ[CHOSEN] = str(opened.path.absolute()) if opened else ""
            try:
                self._call_children_scripts(trainer)
            finally:
                del os.environ[CHOSEN]  # a later run in this process must not see it
            watch = Watch(self.procs)
            watch.start()
            self.watch = watch
        set_num_threads(num_processes=self.num_processes)
        with _cause_reported_once(watch):
            if self.num_nodes > 1:
                self._prepare_network()
            result = function(*args, **kwargs)
            if watch is not None:
                watch.join_processes()
        return result

    def _prepare_network(self) -> None:
        environment = self.cluster_environment
        address = environment.main_address
        choose_interface(address)
        if environment.node_rank() > 0:
            by_torchrun = external_launcher() == "torchrun"
            here = f"rank {environment.global_rank()} on {socket.gethostname()}"
            named_by = "--local-addr to torchrun" if by_torchrun else "MASTER_ADDR to every rank"
            port = environment.main_port
            reach(address, port, here=here, listens=by_torchrun, named_by=named_by)
        if environment.local_rank() > 0:
            return
        if environment.node_rank() == 0:
            _in_background(say_waiting, self.num_nodes, self.num_processes)
        if (store := torchrun_store()) is not None:
            _in_background(wait_for_other_hosts, store, report_failure)

    def _call_children_scripts(self, trainer: L.Trainer | None = None) -> None:
        self._check_can_spawn_children()
        environment = {
            "MASTER_ADDR": self.cluster_environment.main_address,
            "MASTER_PORT": str(self.cluster_environment.main_port),
            "NODE_RANK": str(self.cluster_environment.node_rank()),
            "LOCAL_RANK": "0",
            "WORLD_SIZE": str(self.num_processes * self.num_nodes),
        }
        os.environ.update(environment)
        for local_rank in range(1, self.num_processes):
            of_rank = {
                "LOCAL_RANK": str(local_rank),
                PARENT: str(os.getpid()),
                **({RUN_DIR: str(Path(trainer.default_root_dir).absolute())} if trainer else {}),
                "PYTHONWARNINGS": "ignore",  # rank 0 shows them
            }
            process = subprocess.Popen(  # noqa: S603 - this program, with its own arguments
                subprocess_command(), env={**os.environ, **of_rank}, stdout=subprocess.DEVNULL
            )
            self.procs.append(process)


class WatchedLaunch:
    """Mixin for Lightning strategies that start their own processes."""

    cluster_environment: ClusterEnvironment
    num_processes: int
    num_nodes: int

    def _configure_launcher(self) -> None:
        self._launcher = WatchedLauncher(
            self.cluster_environment, self.num_processes, self.num_nodes
        )


class WatchedDDPStrategy(WatchedLaunch, DDPStrategy):
    """DDP with watched processes."""


class WatchedFSDPStrategy(WatchedLaunch, FSDPStrategy):
    """FSDP with watched processes."""


def follow_parent() -> None:
    """In a process that `WatchedLauncher` started, exit once its parent is gone."""
    parent = os.environ.get(PARENT)
    if parent is not None:
        threading.Thread(target=_follow, args=(int(parent),), daemon=True).start()


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    if os.environ["LOCAL_RANK"] == "1":
        report_failure(f"rank 0 (pid {parent}) is gone; was the machine out of memory?")
    os._exit(1)


def report_failure(message: str) -> None:
    """Print an error if its reader still exists; the process ends in either case."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        say(f"\nerror: {message}", sys.stderr)


@contextlib.contextmanager
def _cause_reported_once(watch: Watch | None) -> Iterator[None]:
    """Let one process report an error, and end the others before they repeat it.

    Raises:
        UserError: on rank 0, in place of an error that another process's death caused.
    """
    try:
        yield
    except Stopped:
        if watch is not None:
            watch.join_processes()
        if rank_zero_only.rank != 0:
            # Rank 0 prints the message. srun and torchrun treat any code except 0 as a failure,
            # and srun ends the others once rank 0 has exited, whose code 75 has to be the highest.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            sys.exit(EXIT_PREEMPTED if PARENT in os.environ else 0)
        raise
    except KeyboardInterrupt:
        if watch is not None:
            watch.kill_silently()
        raise
    except Exception as error:
        if watch is not None:
            death = watch.explain(error)
            watch.kill()
            if death is not None:
                raise UserError(death) from None
        elif _lost_another(error):
            time.sleep(LOST_SECONDS)  # the launcher or `HostWatch` ends this process meanwhile
            raise UserError(
                f"rank {rank_zero_only.rank} on {socket.gethostname()} has lost the other "
                f"processes ({str(error).splitlines()[0]}); one of them has ended, or the network "
                f"has failed: see the output of rank 0 on {os.environ.get('MASTER_ADDR')}"
            ) from None
        raise


@contextlib.contextmanager
def rank_zero_reports_first() -> Iterator[None]:
    """Delay an error on non-zero ranks.

    Rank 0 reports an error that all processes meet, and its launcher ends the others meanwhile.
    """
    try:
        yield
    except Exception:
        if rank_zero_only.rank != 0:
            time.sleep(SPEAK_SECONDS)
        raise


def _in_background(function: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=function, args=arguments, daemon=True).start()


def _lost_another(error: BaseException) -> bool:
    """Return whether an error only says that another process cannot be reached."""
    if isinstance(error, torch.distributed.DistError):
        return True
    words = ("gloo", "nccl", "connection closed", "connection reset", "broken pipe", "socket")
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)
