"""The lock of a run's folder: one process trains in it at a time, whatever machine it is on.

The holder keeps a POSIX lock on `.lock`, which the system releases when the process ends, however
it ends. Network file systems may lack such locks, or apply them on one machine only. The file
therefore also names its holder, which touches it every few seconds. Another process takes over if
the holder is gone: on the same machine when that process no longer exists, on another machine when
nothing touches the file while it is watched. Only changes of its time count, not the time itself,
because clocks of machines and file servers differ.

Readers of the folder ignore the file. It is removed at the end; a killed run leaves it behind.
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
import threading
import time
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Self

from webtext_gpt.errors import UserError
from webtext_gpt.paths import check_output_folder
from webtext_gpt.terminal import say

NAME = ".lock"
BEAT_SECONDS = 10.0
"""Seconds between two touches of the file by its holder."""
FRESH_SECONDS = 60.0
"""Seconds without a touch after which a holder on another machine counts as gone."""
WAIT_SECONDS = 90.0
"""Seconds that `resume=auto`, called by a scheduler, waits for the previous process to end."""
POLL_SECONDS = 0.5
SETTLE_SECONDS = 1.0
"""Seconds after which two processes started together see each other, without file locks."""
HELD = (errno.EAGAIN, errno.EACCES)
"""Errors that mean another process holds the lock; others mean that files cannot be locked."""


def _started(pid: int) -> str:
    """Return when a process started, in clock ticks since the machine did; empty if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "" if Path("/proc/self/stat").exists() or not _is_running(pid) else "unknown"
    fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces
    return "" if fields[0] in "ZX" else fields[19]


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return error.errno == errno.EPERM
    return True


def _boot() -> str:
    """Return an identifier of this machine's present start; without `/proc`, its name."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return socket.gethostname()


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock, as the lock's file names it; by default this process."""

    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    started: str = field(default_factory=lambda: _started(os.getpid()))
    """When the process started, by which it is told from a later process of the same id."""
    boot: str = field(default_factory=_boot)
    """Identifies the machine, and that it has not been started again."""
    namespace: str = field(default_factory=_namespace)
    """Identifies the processes that share process ids, such as those of one container."""
    inode: int = 0
    """Inode of the lock file, which differs in a copy of the folder."""
    since: str = field(default_factory=lambda: f"{datetime.now():%Y-%m-%d %H:%M:%S}")

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine."""
        return self.boot == _boot()

    def may_exist(self, *, locks_work: bool, idle: float, inode: int) -> bool:
        """Return whether another process may still be training, though its lock is not seen.

        Args:
            locks_work: whether the file system has just given us the lock.
            idle: seconds for which the file has not been touched.
            inode: the file's inode.
        """
        if self.is_here:
            if self.inode != inode:
                return False
            if self.namespace == _namespace():
                return self.pid != os.getpid() and self.started == _started(self.pid) != ""
            if locks_work:
                return False
        return idle < FRESH_SECONDS


def is_held(folder: Path) -> bool:
    """Return whether another process seems to be training in a folder; nothing is locked.

    The process that holds the lock must not ask: the system releases it when the file is closed.
    For a holder on another machine, the answer relies on the clock.
    """
    try:
        with (folder / NAME).open("rb") as stream:
            found = os.fstat(stream.fileno())
            holder = Holder(**json.loads(stream.read(10_000)))
    except (OSError, ValueError, TypeError):
        return False
    idle = time.time() - found.st_mtime
    return holder.may_exist(locks_work=False, idle=idle, inode=found.st_ino)


class RunLock:
    """The right to change a run's folder, held until `release` or the end of this process.

    Leaving a `with` statement releases it.

    Args:
        folder: the run's folder, which is made if it does not exist.
        wait: seconds to wait for a holder to end.

    Raises:
        UserError: another process holds the lock, or the folder cannot be written to.
    """

    def __init__(self, folder: Path, wait: float = 0.0) -> None:
        check_output_folder(folder, "run_dir")
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / NAME
        self._descriptor = -1
        self._touches: list[int] = []
        """Successive modification times of a file that a holder on another machine touches."""
        self._unchanged_since = 0.0
        deadline = time.monotonic() + wait
        said = False
        while (problem := self._take()) is not None:
            undecided = len(self._touches) == 1  # on another machine, and untouched so far
            if time.monotonic() >= deadline and not undecided:
                raise UserError(problem)
            if not said:
                what = "watching for a sign of life" if undecided else "waiting for its end"
                say(f"{problem.partition(';')[0]}; {what}")
                said = True
            time.sleep(POLL_SECONDS)
        self._ended = threading.Event()
        threading.Thread(target=self._beat, daemon=True, name="run lock").start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Remove the file and let other processes take the lock."""
        self._ended.set()
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                if self._is_current():
                    self.path.unlink()
            os.close(self._descriptor)
            self._descriptor = -1

    def _take(self) -> str | None:
        """Take the lock; return a message if another process holds it."""
        problem: str | None = ""
        while problem == "":  # the holder has removed the file since it was opened
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                problem = self._claim()
            except BaseException:
                os.close(self._descriptor)
                raise
            if problem is not None:
                os.close(self._descriptor)
                self._descriptor = -1
        return problem

    def _claim(self) -> str | None:
        """Take the lock of the open file; return a message, empty if the file was removed."""
        locks_work = True
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in HELD:
                self._touches.clear()
                return self._in_use()
            locks_work = False
        if not self._is_current():
            return ""
        found = self._read()
        inode = os.fstat(self._descriptor).st_ino
        idle = 0.0
        if found is None or found.is_here:
            self._touches.clear()
        else:
            idle = self._idle()
        if found is not None and found.may_exist(locks_work=locks_work, idle=idle, inode=inode):
            return self._in_use()
        mine = replace(Holder(), inode=inode)
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(asdict(mine)).encode() + b"\n", 0)
        if not locks_work:
            os.fsync(self._descriptor)
            time.sleep(SETTLE_SECONDS)
            if not self._is_current():
                return ""
            if self._read() != mine:
                return self._in_use()
        return None

    def _is_current(self) -> bool:
        """Return whether the open file is still the one of that name."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), self.path.stat())
        except FileNotFoundError:
            return False

    def _read(self) -> Holder | None:
        """Return the holder; `None` if the file is new, or was cut short."""
        try:
            return Holder(**json.loads(os.pread(self._descriptor, 10_000, 0)))
        except (ValueError, TypeError):
            return None

    def _idle(self) -> float:
        """Return the seconds, by this machine's clock, for which the file was seen unchanged."""
        touched = os.fstat(self._descriptor).st_mtime_ns
        if self._touches[-1:] != [touched]:
            self._touches = [*self._touches[-1:], touched]
            self._unchanged_since = time.monotonic()
        return time.monotonic() - self._unchanged_since

    def _in_use(self) -> str:
        folder, found = self.path.parent, self._read()
        if found is None:
            return f"{folder} is in use by another process; wait until it ends"
        advice = (
            f"wait until it ends, or stop it (kill -INT {found.pid} lets it save)"
            if found.is_here
            else f"wait until it ends, or stop it there; if it is surely gone, remove {self.path}"
        )
        return (
            f"{folder} is in use: process {found.pid} on {found.host} has been training in it "
            f"since {found.since}; {advice}"
        )

    def _beat(self) -> None:
        """Touch the file until the lock is released."""
        while not self._ended.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):  # the file system may be away for a while
                os.utime(self._descriptor)
