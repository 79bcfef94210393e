"""Worker processes that end with their parent, however it ends, and report their progress."""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from webtext_gpt.errors import UserError

Task = TypeVar("Task")
Result = TypeVar("Result")

_progress: Any = None  # in a worker: the shared count that `advance` adds to


def cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def advance(amount: int) -> None:
    """From inside a task: add to the progress that the parent shows."""
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
    """Run `function` over tasks in processes; yield (task, result) as each ends, in any order.

    `total` units of `advance` make the progress bar full. One worker runs here, in this process.
    A task that fails does not stop the others: the first error is raised when all have ended.

    Raises:
        UserError: a task raised it, or a worker was ended from outside (most often for memory).
    """
    from tqdm import tqdm

    workers = min(workers or cores(), len(tasks))
    bar = tqdm(total=total, unit=unit, unit_scale=True, desc=label, mininterval=0.5, disable=None)
    errors: list[UserError] = []
    with bar:
        if workers <= 1:
            _start_worker(_Local(bar))
            for task in tasks:
                try:
                    result = function(task)
                except UserError as error:
                    errors.append(error)
                else:
                    yield task, result
            _raise_first(errors)
            return
        context = multiprocessing.get_context("spawn")  # threads of Arrow do not survive a fork
        progress = context.Value("q", 0)
        pool = ProcessPoolExecutor(workers, context, _start_child, (progress, os.getpid()))
        with pool:
            waiting = {pool.submit(function, task): task for task in tasks}
            try:
                while waiting:
                    done, _ = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                    bar.update(progress.value - bar.n)
                    for future in done:
                        task = waiting.pop(future)
                        if isinstance(fault := future.exception(), UserError):
                            errors.append(fault)
                        else:
                            yield task, future.result()
            except BrokenProcessPool as broken:
                raise UserError(
                    f"{label}: a worker process was killed, most often for memory; run the same "
                    "command again to go on, with a smaller workers="
                ) from broken
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
    _raise_first(errors)


def _raise_first(errors: list[UserError]) -> None:
    if errors:
        raise errors[0]


class _Local:
    """Progress without another process."""

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


def _start_child(progress: Any, parent: int) -> None:
    _start_worker(progress)
    end_with(parent)


def _start_worker(progress: Any) -> None:
    global _progress  # noqa: PLW0603 - a process has one
    _progress = progress


def end_with(parent: int) -> None:
    """End this process within a second of its parent's death, even by SIGKILL."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
