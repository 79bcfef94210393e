"""Worker processes that report their progress and end when their parent ends."""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from webtext_gpt import machine
from webtext_gpt.errors import UserError
from webtext_gpt.progress import progress_bar

Task = TypeVar("Task")
Result = TypeVar("Result")


class Progress(Protocol):
    """A count that several processes may add to, such as `multiprocessing.Value`."""

    value: int

    def get_lock(self) -> AbstractContextManager[Any]:
        """Return the lock to hold while adding."""


cores = machine.cores

_progress: Progress | None = None  # in a worker: the count that `advance` adds to


def advance(amount: int) -> None:
    """Add to the progress bar of `each`; called from inside a task."""
    if _progress is not None:
        with _progress.get_lock():
            _progress.value += amount


def each(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    workers: int | None,
    *,
    total: int,
    unit: str,
    label: str,
) -> Iterator[tuple[Task, Result]]:
    """Run `function` over tasks in worker processes; yield (task, result) as each one ends.

    A task that fails does not stop the others. After all have ended, the error of the first task
    that failed is raised.

    Args:
        function: Picklable, unless there is only one worker or one task.
        tasks: Arguments, one for each call.
        workers: Number of processes. None means one per core; 1 means this process.
        total: Sum of all calls of `advance`, at which the progress bar is full.
        unit: Unit of `total`.
        label: Name of the progress bar.

    Raises:
        UserError: A task raised it, or a worker was killed, most often for lack of memory.
    """
    workers = min(workers or cores(), len(tasks))
    bar = progress_bar(label, total=total, unit=unit)
    errors: dict[int, UserError] = {}
    with bar:
        if workers <= 1:
            _set_progress(_BarProgress(bar))
            for number, task in enumerate(tasks):
                try:
                    result = function(task)
                except UserError as error:
                    errors[number] = error
                else:
                    yield task, result
            raise_first(errors)
            return
        context = multiprocessing.get_context("spawn")  # threads of Arrow do not survive a fork
        progress = context.Value("q", 0)
        pool = ProcessPoolExecutor(workers, context, _start_worker, (progress, os.getpid()))
        with pool:
            waiting: dict[Future[Result], int] = {
                pool.submit(function, task): number for number, task in enumerate(tasks)
            }
            try:
                while waiting:
                    done, _ = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                    bar.update(progress.value - bar.n)
                    for future in done:
                        number = waiting.pop(future)
                        if isinstance(fault := future.exception(), UserError):
                            errors[number] = fault
                        else:
                            yield tasks[number], future.result()
                pool.shutdown()  # a process that is still starting needs this one's semaphores
            except BrokenProcessPool as broken:
                raise UserError(
                    f"{label}: a worker process was killed, most often for lack of memory; run "
                    "the same command again to resume, with a smaller workers="
                ) from broken
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
    raise_first(errors)


def raise_first(errors: Mapping[int, UserError]) -> None:
    """Raise the error of the first task that failed, if one did."""
    if errors:
        raise errors[min(errors)]


class _BarProgress:
    """Progress of tasks that run in this process, shown at once."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._lock = threading.Lock()

    def get_lock(self) -> threading.Lock:
        return self._lock

    @property
    def value(self) -> int:
        return int(self._bar.n)

    @value.setter
    def value(self, value: int) -> None:
        self._bar.update(value - self._bar.n)


def _start_worker(progress: Progress, parent: int) -> None:
    _set_progress(progress)
    end_with(parent)


def _set_progress(progress: Progress) -> None:
    global _progress  # noqa: PLW0603 - a process has one
    _progress = progress


def end_with(parent: int) -> None:
    """End this process within a second of its parent's end, even if that was killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
