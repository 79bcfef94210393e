"""When a run ends: its length from the settings, and whether a resumed run has reached it."""

import math
from dataclasses import dataclass, replace
from typing import Any

import lightning as L
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from webtext_gpt.checkpoint.store import (
    damage,
    open_checkpoint,
    saved_checkpoints,
)
from webtext_gpt.errors import UserError
from webtext_gpt.settings.optimization import WarmupStableDecay
from webtext_gpt.settings.run import AUTO
from webtext_gpt.settings.training import DEFAULT_MINUTES
from webtext_gpt.terminal import say
from webtext_gpt.training.callbacks.early_stopping import Patience
from webtext_gpt.training.callbacks.stable import StableCheckpoint, decay_start_of
from webtext_gpt.training.callbacks.time_budget import OPEN, TimeBudget
from webtext_gpt.training.opening import Run
from webtext_gpt.training.run_folder import (
    read_summary,
)


@dataclass(frozen=True)
class Length:
    """When training ends: after a number of steps or of minutes, whichever comes first."""

    max_steps: int
    """Optimizer steps; `OPEN` lets `TimeBudget` set as many as fit into `max_minutes`."""
    max_minutes: float | None
    taken_steps: int = 0
    """Optimizer steps that a resumed run has taken."""
    taken_seconds: float = 0.0
    """Seconds that they took."""
    is_estimated: bool = False
    """Whether `max_minutes` alone gives the number of steps."""


def plan_length(
    max_steps: int | None,
    max_tokens: int | None,
    max_minutes: float | None,
    *,
    tokens_per_step: int,
    planned_steps: int | None = None,
) -> Length:
    """Return when training ends, from the settings under `trainer`.

    Args:
        max_steps: optimizer steps.
        max_tokens: training tokens, rounded up to whole steps, instead of `max_steps`.
        max_minutes: wall-clock minutes. All three `None` means `DEFAULT_MINUTES`.
        tokens_per_step: tokens of the global batch.
        planned_steps: steps that a resumed run had planned for the same time, used if neither
            `max_steps` nor `max_tokens` is set.

    Raises:
        UserError: a number is not above 0.
    """
    if max_tokens is not None:
        steps = math.ceil(max_tokens / tokens_per_step)
    elif max_steps is not None:
        steps = max_steps
    else:
        steps = OPEN
        max_minutes = DEFAULT_MINUTES if max_minutes is None else max_minutes
    if steps == OPEN and planned_steps is not None:
        steps = planned_steps
    if steps < 1 and steps != OPEN:
        raise UserError("trainer.max_steps and trainer.max_tokens must be above 0, or null")
    return Length(steps, max_minutes)


def run_length(run: Run, tokens_per_step: int, max_steps: int | None = None) -> Length:
    """Return when a run ends, new or resumed.

    Args:
        run: the run. If it is resumed with the same time, it keeps the steps that it had planned.
        tokens_per_step: tokens of the global batch.
        max_steps: optimizer steps, if the settings leave the length to the caller.
    """
    asked = run.settings.trainer
    steps = asked.max_steps or max_steps
    minutes = DEFAULT_MINUTES if asked.max_minutes is None else asked.max_minutes
    keeps_plan = run.state is not None and run.planned_minutes == minutes
    length = plan_length(
        steps,
        asked.max_tokens,
        asked.max_minutes,
        tokens_per_step=tokens_per_step,
        planned_steps=run.state["max_steps"] if run.state and keeps_plan else None,
    )
    length = replace(length, is_estimated=steps is None and asked.max_tokens is None)
    if run.state is None:
        return length
    return replace(length, taken_steps=run.step, taken_seconds=run.state["seconds"])


def before_decay(run: Run, length: Length) -> Run:
    """Return a resumed run of `scheduler=wsd` as it was before its decay, if that now comes later.

    A run that is planned longer continues from the last checkpoint at the peak learning rate, and
    equals one that was planned so from the start.

    Raises:
        UserError: no such checkpoint is left.
    """
    scheduler = run.settings.scheduler
    if run.state is None or not isinstance(scheduler, WarmupStableDecay):
        return run
    start = _decay_start(run.state)
    if start is None or run.step <= start:
        return run
    if length.max_steps != OPEN:
        is_later = decay_start_of(scheduler, length.max_steps) > start
    else:
        is_later = (length.max_minutes or 0) * 60 > run.state["seconds"]
    if not is_later:
        return run
    for path in saved_checkpoints(run.folder):
        try:
            stable = open_checkpoint(path)
        except UserError:
            continue
        is_stable = stable.state["global_step"] <= (_decay_start(stable.state) or 0)
        if is_stable and damage(path) is None:
            if rank_zero_only.rank == 0:
                say(f"resumes from {path.name}, before the learning rate decayed")
            return replace(run, checkpoint=stable, goes_back=True)
    raise UserError(
        f"the learning rate of the run in {run.folder} has decayed since step {start}, and no "
        "checkpoint from before is left to continue from; start a new run"
    )


def _decay_start(state: dict[str, Any]) -> int | None:
    """Return the step at which a checkpoint's run was to decay; `None` under another schedule."""
    start: int | None = state["callbacks"].get(StableCheckpoint.__name__, {}).get("decay_start")
    return start


def is_finished(run: Run, trainer: L.Trainer) -> bool:
    """Return whether a resumed run has reached its end and written its summary.

    A run without a summary, for example after a signal during the last validation, is not finished.

    Raises:
        UserError: it is finished, and `resume` names it; or it is not, but has taken more steps
            than this call asks for.
    """
    ended = _why_ended(run, trainer)
    if ended is None:
        return False
    reason, more = ended
    message = (
        f"the run in {run.folder} {reason}; to continue training, give resume={run.folder} and "
        f"{more}"
    )
    if read_summary(run.folder).get("step") != run.step:
        if 0 < trainer.max_steps < run.step:
            raise UserError(message)
        return False
    if run.settings.resume != AUTO:
        raise UserError(message)
    if rank_zero_only.rank == 0:
        say(message)
    return True


def _why_ended(run: Run, trainer: L.Trainer) -> tuple[str, str] | None:
    """Return why a resumed run takes no further step, and what it needs for more; or `None`."""
    assert run.state is not None  # noqa: S101 - callers have checked it
    lengths = [f"trainer.{key}" for key in ("max_steps", "max_tokens", "max_minutes")]
    if hasattr(run.settings, "epochs"):
        lengths[1] = "epochs"
    greater = f"a greater length ({', '.join(lengths[:-1])} or {lengths[-1]})"
    if 0 < trainer.max_steps < run.step:
        return f"has taken {run.step} steps, and this call asks for {trainer.max_steps}", greater
    if trainer.max_steps == run.step:
        return f"has taken its {run.step} steps", greater
    for callback in trainer.callbacks:
        if isinstance(callback, TimeBudget) and run.state["seconds"] >= 60 * callback.minutes:
            minutes, limit = run.state["seconds"] / 60, f"trainer.max_minutes={callback.minutes:g}"
            return f"has trained for {minutes:.2f} minutes, past {limit}", greater
        if isinstance(callback, Patience):
            before = run.state["callbacks"].get(callback.state_key, {})
            if before.get("wait_count", 0) >= callback.patience:
                return (
                    f"ended early, after {callback.patience} validations without a better "
                    f"{callback.monitor}",
                    "a greater callbacks.early_stopping.patience",
                )
    return None
