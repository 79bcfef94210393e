"""Write checkpoints in a thread, one at a time, and raise its errors in the caller."""

import contextlib
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait

from webtext_gpt.terminal import say

LONG_SECONDS = 2.0
"""Seconds after which a wait is announced."""
SLOW_SECONDS = 10.0
"""Seconds after which a write that training waits for is reported as slow."""


_writers: weakref.WeakSet["BackgroundWriter"] = weakref.WeakSet()


@contextlib.contextmanager
def announced_if_slow(what: str) -> Iterator[None]:
    """Print that training waits, if the block, which writes a file or folder, takes long.

    Args:
        what: the file or folder that is being written.
    """
    began = time.monotonic()

    waiting = f"{what} is still being written; training waits for it ..."
    timer = threading.Timer(SLOW_SECONDS, say, (waiting, sys.stderr))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if (seconds := time.monotonic() - began) > SLOW_SECONDS:
            say(
                f"... the write of {what} took {seconds:.0f} s; is its file system slow?",
                sys.stderr,
            )


def is_writing() -> bool:
    """Return whether a thread of this process is writing a checkpoint."""
    return any(not future.done() for writer in list(_writers) for future in writer.pending)


class BackgroundWriter:
    """A thread that writes while training goes on.

    Python does not exit before the thread has finished its writes.
    """

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self.pending: list[Future[None]] = []
        _writers.add(self)

    def start(self, work: Callable[[], None]) -> None:
        """Start writing. The previous write has to be finished, see `finish`."""
        self._submit(work)

    def then(self, work: Callable[[], None]) -> None:
        """Call a function after the current write, or at once if there is none.

        If the write fails, the function is not called.
        """
        if not self.pending:
            work()
            return
        before = self.pending[-1]

        def after() -> None:
            if before.exception() is None:
                work()

        self._submit(after)

    def check(self) -> None:
        """Raise the error of a finished write, if there is one; do not wait for the others."""
        while self.pending and self.pending[0].done():
            self.pending.pop(0).result()

    def finish(self, message: str = "the checkpoint is still being written") -> None:
        """Wait for all writes.

        Args:
            message: printed if that takes long.

        Raises:
            Exception: the error of a write.
        """
        if wait(self.pending, LONG_SECONDS).not_done:
            began = time.monotonic()
            say(f"{message} ...", sys.stderr)
            wait(self.pending)
            seconds = time.monotonic() - began + LONG_SECONDS
            say(f"... it is written, after {seconds:.0f} s", sys.stderr)
        finished, self.pending = self.pending, []
        for future in finished:
            future.result()

    def _submit(self, work: Callable[[], None]) -> None:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self.pending.append(self._thread.submit(work))
