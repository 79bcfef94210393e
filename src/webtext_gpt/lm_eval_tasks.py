"""Run lm-eval's tasks so that the results of the others are kept if one fails.

The harness collects the requests of all tasks, answers them together, and returns results only
when every task has succeeded. `KeepFinished` replaces its `simple_evaluate`: it runs all tasks
together too, and if that fails, finds the failing tasks and returns the results of the others.
Answers that were given before the failure are read from the harness's own cache of answers.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lm_eval.tasks import TaskManager

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import errors_at
from webtext_gpt.lm_eval_generation import generation_settings

MODEL = "webtext_gpt"
"""Name under which our model is registered with the harness."""

Evaluate = Callable[..., dict[str, Any] | None]
Spec = str | dict[str, Any]
"""A task, group or tag by name, or a task's configuration."""

_PROBE = {
    "evaluation_tracker": None,
    "bootstrap_iters": 0,
    "write_out": False,
    "check_integrity": False,
    "delete_requests_cache": False,
}
"""Arguments of a run that only tests whether a task succeeds."""


class KeepFinished:
    """The harness's `simple_evaluate`, which returns the results of the tasks that succeed.

    Args:
        evaluate: the harness's function.

    Attributes:
        failed: the errors of tasks that failed, by their names.
    """

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate
        self.failed: dict[str, Exception] = {}

    def __call__(
        self,
        *,
        tasks: list[Spec],
        task_manager: TaskManager,
        use_cache: str | None = None,
        **arguments: Any,
    ) -> dict[str, Any] | None:
        """Return the harness's results; the arguments are those of `simple_evaluate`.

        Raises:
            UserError: a task has generation settings that our model does not support. No request
                has been answered.
            Exception: the error of the first task, if all of them fail.
        """
        tasks = [part for task in tasks for part in self._loadable(task, task_manager)]
        if arguments.get("model") == MODEL:
            _check_generation(tasks, task_manager, arguments.get("gen_kwargs") or {})
        with tempfile.TemporaryDirectory() as folder:
            arguments["use_cache"] = use_cache or str(Path(folder) / "answers")
            arguments["task_manager"] = task_manager
            try:
                results = self._evaluate(tasks=tasks, **arguments) if tasks else None
            except Exception:
                tasks = self._finished(tasks, arguments)
                if not self.failed:  # they fail only together
                    raise
                results = self._evaluate(tasks=tasks, **arguments) if tasks else None
        if results is None and self.failed:
            raise next(iter(self.failed.values()))
        if results is not None:
            results["config"]["use_cache"] = use_cache
        return results

    def raise_failures(self) -> None:
        """Report the tasks that failed, if there are any.

        Raises:
            UserError: names each of them with its error.
        """
        if self.failed:
            lines = "".join(f"\n{name}: {error}" for name, error in self.failed.items())
            raise UserError(f"these tasks failed; the results are those of the others{lines}")

    def _loadable(self, task: Spec, manager: TaskManager) -> list[Spec]:
        """Return a task if its data can be read; for a group, the parts whose data can be."""
        try:
            manager.load([task])
        except Exception as error:  # a task may run any code
            parts = _parts(task, manager)
            if not parts:
                self.failed[str(task)] = error
            return [spec for part in parts for spec in self._loadable(part, manager)]
        return [task]

    def _finished(self, tasks: Sequence[Spec], arguments: dict[str, Any]) -> list[Any]:
        """Run each task alone; return those that succeed, as part of their groups if these do."""
        manager: TaskManager = arguments["task_manager"]
        finished: list[Any] = []
        for spec in tasks:
            for name, task in manager.load([spec])["tasks"].items():
                try:
                    self._evaluate(tasks=[task], **{**arguments, **_PROBE})
                except Exception as error:  # a task may run any code
                    self.failed[name] = error
            fresh = manager.load([spec])["tasks"]  # with random generators that were not used
            if self.failed.keys().isdisjoint(fresh):
                finished.append(spec)
            else:
                finished += [task for name, task in fresh.items() if name not in self.failed]
        return finished


def _check_generation(
    tasks: Sequence[Spec], manager: TaskManager, override: Mapping[str, Any]
) -> None:
    """Refuse generation settings that our model does not support; see `generation_settings`."""
    for name, task in manager.load(list(tasks))["tasks"].items():
        if task.get_config("output_type") == "generate_until":
            with errors_at(f"task {name}"):
                generation_settings({**(task.get_config("generation_kwargs") or {}), **override})


def _parts(task: Spec, manager: TaskManager) -> list[Spec]:
    """Return the members of a group or tag; none for a task."""
    if not isinstance(task, str):
        return []
    entry = manager.task_index.get(task)
    if task in manager.all_tags:
        return [name for name, other in manager.task_index.items() if task in other.tags]
    members = (entry.cfg or {}).get("task") if entry and task in manager.all_groups else None
    return members if isinstance(members, list) else []
