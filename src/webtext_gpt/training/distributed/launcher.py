"""Starting the processes of one machine; none of them outlives another's death for long.

A process that dies leaves the others waiting in a collective operation, on GPUs for half an hour.
So the first process watches those that it started, and they watch it. What ended a run is said
once: by the process that failed, or, where that one was killed, by one that saw it.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import torch
from hydra.core.hydra_config import HydraConfig
from lightning.fabric.utilities.distributed import _set_num_threads_if_needed
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy
from lightning.pytorch.strategies.launchers.subprocess_script import (
    _basic_subprocess_cmd,
    _hydra_subprocess_cmd,
    _SubprocessScriptLauncher,
)
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from webtext_gpt.errors import EXIT_PREEMPTED, Stopped, UserError

PARENT = "WEBTEXT_GPT_PARENT"
"""Environment variable of started processes: the id of the one that started them."""
CHOSEN = "WEBTEXT_GPT_CHECKPOINT"
"""Environment variable of started processes: what the first one goes on from; empty for nothing."""
POLL_SECONDS = 0.2
SPEAK_SECONDS = 3.0
"""A process other than the first waits so long before it reports an error that all may have."""
LOST_SECONDS = 15.0
"""So long is waited for the cause, where an error only says that another process went away."""
STUCK_SECONDS = 5.0
"""After another's death, the first process has so long to notice it itself."""


class Watch(threading.Thread):
    """Polls started processes; at the first that fails, the run ends.

    Args:
        processes: of the local ranks from 1 on.
    """

    def __init__(self, processes: list[subprocess.Popen]) -> None:
        super().__init__(daemon=True, name="watch")
        self.processes = processes
        self._reporting = threading.Lock()  # whoever holds it says what ended the run

    def run(self) -> None:
        """Until all have ended well; end the run if the main thread does not notice a death."""
        while any(process.poll() is None for process in self.processes) or self.death():
            if self.death():
                time.sleep(STUCK_SECONDS)
                if self._reporting.acquire(blocking=False):
                    self._end()
                return
            time.sleep(POLL_SECONDS)

    def death(self) -> str | None:
        """What became of the first process found to have failed."""
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
        """Whether another's death is behind an error of this process; that process's story."""
        self._reporting.acquire()
        deadline = time.monotonic() + (LOST_SECONDS if _lost_another(error) else 0)
        while not (death := self.death()) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return death

    def kill(self) -> None:
        """End the others at once; what they were writing is incomplete and will not be used."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()

    def join_processes(self, seconds: float = 60.0) -> None:
        """Wait for the others' own end."""
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)

    def _end(self) -> NoReturn:
        self.kill()
        _say(f"{self.death()}")
        os._exit(1)  # the main thread waits for the dead, and cannot be interrupted


class WatchedLauncher(_SubprocessScriptLauncher):
    """Lightning's launcher, with one run folder, one log, and processes that are watched."""

    def launch(self, function: Callable, *args: Any, trainer: Any = None, **kwargs: Any) -> Any:
        """Start the other processes of this machine, unless a launcher has, and call `function`.

        Raises:
            UserError: another process failed, or was killed.
        """
        self.cluster_environment.validate_settings(
            num_devices=self.num_processes, num_nodes=self.num_nodes
        )
        watch = None
        if not self.cluster_environment.creates_processes_externally:
            opened = trainer.strategy.checkpoint_io.opened if trainer else None
            os.environ[CHOSEN] = str(opened.path.absolute()) if opened else ""
            try:
                self._call_children_scripts()
            finally:
                del os.environ[CHOSEN]  # of this run alone
            watch = Watch(self.procs)
            watch.start()
        _set_num_threads_if_needed(num_processes=self.num_processes)
        with _cause_said_once(watch):
            result = function(*args, **kwargs)
            if watch is not None:
                watch.join_processes()
        return result

    def _call_children_scripts(self) -> None:
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
            if HydraConfig.initialized():
                command, folder = _hydra_subprocess_cmd(local_rank)
            else:
                command, folder = _basic_subprocess_cmd(), None
            own = {
                "LOCAL_RANK": str(local_rank),
                PARENT: str(os.getpid()),
                "PYTHONWARNINGS": "ignore",  # the first process gives them
            }
            process = subprocess.Popen(  # noqa: S603 - this program, with its own arguments
                command, env={**os.environ, **own}, cwd=folder, stdout=subprocess.DEVNULL
            )
            self.procs.append(process)


class WatchedLaunch:
    """Mixin of Lightning's strategies that start their own processes."""

    cluster_environment: Any
    num_processes: int
    num_nodes: int

    def _configure_launcher(self) -> None:
        self._launcher = WatchedLauncher(
            self.cluster_environment, self.num_processes, self.num_nodes
        )


class WatchedDDPStrategy(WatchedLaunch, DDPStrategy):
    """DDP whose processes are watched."""


class WatchedFSDPStrategy(WatchedLaunch, FSDPStrategy):
    """FSDP whose processes are watched."""


def follow_parent() -> None:
    """In a process that `WatchedLauncher` started, end when the one that started it is gone."""
    parent = os.environ.get(PARENT)
    if parent is not None:
        threading.Thread(target=_follow, args=(int(parent),), daemon=True).start()


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    if os.environ["LOCAL_RANK"] == "1":
        _say(f"the first process (pid {parent}) is gone; was the machine out of memory?")
    os._exit(1)


def _say(message: str) -> None:
    """Print an error, if anyone is left to read it: its process ends all the same."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        print(f"\nerror: {message}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _cause_said_once(watch: Watch | None) -> Iterator[None]:
    """Let one process report an error; the others are ended before they repeat it.

    Raises:
        UserError: in the first process, instead of an error that another's death caused.
    """
    try:
        yield
    except Stopped:
        if watch is not None:
            watch.join_processes()
        if rank_zero_only.rank != 0:
            # The first process says it. To srun and torchrun, another code would be a failure.
            sys.exit(EXIT_PREEMPTED if PARENT in os.environ else 0)
        raise
    except Exception as error:
        if watch is not None:
            death = watch.explain(error)
            watch.kill()
            if death is not None:
                raise UserError(death) from None
        elif _lost_another(error):
            time.sleep(LOST_SECONDS)  # whoever started us ends us meanwhile
        raise


@contextlib.contextmanager
def first_process_speaks() -> Iterator[None]:
    """Hold an error back for a moment in processes other than the first.

    What the first one finds as well, it says, and its launcher ends the others meanwhile.
    """
    try:
        yield
    except Exception:
        if rank_zero_only.rank != 0:
            time.sleep(SPEAK_SECONDS)
        raise


def _lost_another(error: BaseException) -> bool:
    """Whether an error only says that another process cannot be reached."""
    if isinstance(error, torch.distributed.DistError):
        return True
    words = ("gloo", "nccl", "connection closed", "connection reset", "broken pipe", "socket")
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)
