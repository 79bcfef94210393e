"""Engine of queries and tasks: Daft and processes on this machine, or a Ray cluster."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from data_prep.stage import workers
from webtext_gpt.errors import UserError
from webtext_gpt.progress import progress_bar

Task = TypeVar("Task")
Result = TypeVar("Result")

Engine = Mapping[str, str | None]
"""`{name: native}` or `{name: ray, address: ...}`, as in conf/data_prep/engine."""

NATIVE: Engine = {"name": "native"}


def start_engine(engine: Engine) -> None:
    """Select Daft's runner for this process.

    A process keeps the runner that was selected first. Selecting it again has no effect.

    Raises:
        UserError: The engine is unknown or cannot be reached, or this process uses another one.
    """
    name = engine.get("name")
    if name == "ray":
        _join_ray(engine.get("address"))
    elif name != "native":
        raise UserError(f"engine {name!r} is not known: expected native or ray")
    os.environ.setdefault("DAFT_PROGRESS_BAR", "0")
    os.environ.setdefault("DAFT_SHOW_QUERY_ID", "0")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ["DAFT_RUNNER"] = name
    from daft.runners import get_or_create_runner

    if (runner := get_or_create_runner().name) != name:
        raise UserError(f"engine={name}: this process already runs on {runner}")


def daft_paths(paths: Iterable[str | Path]) -> list[str]:
    """Return paths as Daft reads them: it takes a path for a URL or a glob pattern."""
    return [re.sub(r"([*?!\[\]{}\\])", r"\\\1", str(Path(path).absolute())) for path in paths]


def _join_ray(address: str | None) -> None:
    """Connect to the cluster at `address`, or start a local one that ends with this process."""
    import ray

    if ray.is_initialized():
        return
    try:
        ray.init(address=address, log_to_driver=False, include_dashboard=False)
    except ConnectionError as error:
        raise UserError(f"engine.address={address}: no Ray cluster answers: {error}") from error


def each_on(
    engine: Engine,
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    workers_at_once: int | None,
    *,
    total: int,
    unit: str,
    label: str,
) -> Iterator[tuple[Task, Result]]:
    """Run `function` over tasks as `workers.each` does, or as tasks of a Ray cluster.

    On Ray, `workers_at_once` limits the concurrent tasks. None means no limit. The progress bar
    then counts tasks, because `workers.advance` has no effect there.

    Raises:
        UserError: A task raised it, or a worker was killed.
    """
    if engine["name"] == "native":
        yield from workers.each(
            function, tasks, workers_at_once, total=total, unit=unit, label=label
        )
        return
    start_engine(engine)
    import ray

    run: Any = ray.remote(lambda task: function(task))  # noqa: PLW0108 - Ray takes no partial
    left, waiting = list(reversed(tasks)), dict[Any, Task]()
    with progress_bar(label, total=len(tasks), unit="task") as bar:
        while left or waiting:
            while left and len(waiting) < (workers_at_once or len(tasks)):
                task = left.pop()
                waiting[run.remote(task)] = task
            (done, *_), _ = ray.wait(list(waiting))
            try:
                yield waiting.pop(done), ray.get(done)
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, UserError):
                    raise error.cause from error
                raise
            bar.update()
