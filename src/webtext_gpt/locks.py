"""Locks on files, which the system releases when a process ends, even if it is killed."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class InUse:
    """Shared lock that marks a file as in use for as long as this object exists.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def __del__(self) -> None:
        os.close(self._descriptor)


@contextmanager
def unused(path: Path) -> Iterator[bool]:
    """Yield whether no process has marked a file as in use; if so, none can inside the block."""
    with path.open("r+b") as file:  # network file systems lock only files opened for writing
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True
