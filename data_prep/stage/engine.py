"""Engine of queries and tasks: Daft and processes on this machine, or a Ray cluster.

A stage divides its work into tasks of a file or a part each, which read and write files. With
`engine=ray` these tasks run on the nodes of a cluster. A query of Daft is inside one task, and runs
on Daft's native runner there as here.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from data_prep.stage import cluster, workers
from data_prep.stage.inputs import InputFile
from webtext_gpt.errors import UserError

Task = TypeVar("Task")
Result = TypeVar("Result")

Engine = Mapping[str, str | None]
"""`{name: native}` or `{name: ray, address: ...}`, as in conf/data_prep/engine."""

NATIVE: Engine = {"name": "native"}


def start_engine(engine: Engine, inputs: Sequence[InputFile], folder: Path) -> None:
    """Connect to the Ray cluster, if there is one, and check the data on each of its nodes.

    Args:
        engine: Where the tasks of a stage run.
        inputs: Files that the tasks read.
        folder: Existing folder that the tasks write to.

    Raises:
        UserError: The engine is unknown; the cluster cannot be reached; or a node has other code,
            or does not see the inputs or the folder.
    """
    if engine["name"] == "ray":
        cluster.join(engine.get("address"))
        cluster.check_nodes([(file.path, file.size) for file in inputs], folder)
    elif engine["name"] != "native":
        raise UserError(f"engine {engine['name']!r} is not known: expected native or ray")


def start_daft() -> None:
    """Select Daft's native runner for this process, which may be a worker of Ray."""
    os.environ.setdefault("DAFT_PROGRESS_BAR", "0")
    os.environ.setdefault("DAFT_SHOW_QUERY_ID", "0")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ["DAFT_RUNNER"] = "native"
    from daft.runners import get_or_create_runner

    if (runner := get_or_create_runner().name) != "native":
        raise UserError(f"this process already runs Daft on {runner}, not on its native runner")


def daft_paths(paths: Iterable[str | Path]) -> list[str]:
    """Return paths in the form that Daft needs, since it reads a path as a URL or glob pattern."""
    return [re.sub(r"([*?!\[\]{}\\])", r"\\\1", str(Path(path).absolute())) for path in paths]


def each_on(
    engine: Engine,
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    workers_at_once: int | None,
    *,
    total: int,
    unit: str,
    label: str,
    memory: int = 0,
) -> Iterator[tuple[Task, Result]]:
    """Run `function` over tasks as `workers.each` does, or on the cluster as `cluster.each` does.

    Natively, `workers_at_once=1` runs the tasks in this process. The caller has to have called
    `start_engine`.

    Raises:
        UserError: A task raised it, or a worker was killed.
    """
    if engine["name"] == "native":
        yield from workers.each(
            function, tasks, workers_at_once, total=total, unit=unit, label=label
        )
    else:
        yield from cluster.each(function, tasks, workers_at_once, label=label, memory=memory)
