"""The callbacks of a run: those that its settings choose, and those that other settings need."""

from pathlib import Path
from typing import Any

import lightning as L

from webtext_gpt.settings.callbacks import Callbacks
from webtext_gpt.settings.optimization import WarmupStableDecay
from webtext_gpt.training.callbacks.stable import StableCheckpoint
from webtext_gpt.training.callbacks.weight_average import WeightAverage
from webtext_gpt.training.opening import Run


def build_callbacks(
    settings: Callbacks,
    folder: Path,
    monitor: str,
    lower_is_better: bool | None,
    resume: str = "resume=...",
) -> list[L.Callback]:
    """Return the callbacks that the settings do not switch off with null.

    Args:
        settings: which, and how.
        folder: the run's folder.
        monitor: validation metric to watch, unless `checkpoints.monitor` names one.
        lower_is_better: whether a lower value of it is better.
        resume: the command that resumes the run, for messages.
    """
    chosen = settings.checkpoints
    if chosen is not None:
        monitor = chosen.monitor or monitor
        if chosen.lower_is_better is not None:
            lower_is_better = chosen.lower_is_better
    watched: dict[str, Any] = {"monitor": monitor, "lower_is_better": lower_is_better}
    more: dict[str, dict[str, Any]] = {
        "samples": {"run_dir": folder},
        "checkpoints": {"run_dir": folder, **watched},
        "early_stopping": watched,
        "interrupt": {"resume": resume},
        "loss_curve": {"run_dir": folder, "metric": monitor},
        "console": {"metric": monitor},
    }
    made = [
        target.build(**more.get(name, {}))
        for name in type(settings).model_fields
        if (target := getattr(settings, name)) is not None
    ]
    return [callback for callback in made if callback is not None]


def stable_checkpoint(run: Run) -> list[L.Callback]:
    """Return the callback that `scheduler=wsd` needs."""
    scheduler = run.settings.scheduler
    if not isinstance(scheduler, WarmupStableDecay):
        return []
    return [StableCheckpoint(run.folder, scheduler, goes_back=run.goes_back)]


def averages(run: Run) -> list[WeightAverage]:
    """Return the callback of `average=`."""
    average = run.settings.average
    return [] if average is None else [WeightAverage(run.folder, average.build())]
