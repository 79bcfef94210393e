"""The bars of training and validation, in a log file."""

import io
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from webtext_gpt import progress
from webtext_gpt.training.callbacks import console
from webtext_gpt.training.callbacks.console import Console
from webtext_gpt.training.callbacks.time_budget import TimeBudget
from webtext_gpt.training.pretrain import pretrain


def _trainer(**values: object) -> Any:
    trainer = {
        "is_global_zero": True,
        "max_steps": 10,
        "global_step": 0,
        "callbacks": [],
        "callback_metrics": {},
        "num_val_batches": [2, 3],
        "datamodule": None,
    }
    return SimpleNamespace(**{**trainer, **values})


def test_a_long_validation_prints_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five batches that take six seconds each: a line after every second one."""
    stream, now = io.StringIO(), [1000.0]
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    trainer, shown = _trainer(), Console()
    shown.on_train_start(trainer, None)
    shown.on_validation_start(trainer, None)
    bar = shown._validation
    assert bar is not None
    bar.start_t -= 60
    for _ in range(5):
        now[0] += 6
        bar.last_print_t -= 6
        shown.on_validation_batch_end()
    shown.on_validation_end(trainer, None)
    first, second = stream.getvalue().splitlines()
    assert first.startswith("validation: 2 of 5 batches (40%), ")
    assert first.endswith("00:18 left")  # three batches at 6 s
    assert second.startswith("validation: 4 of 5 batches (80%), ")
    assert second.endswith("00:06 left")


def test_an_interrupted_run_ends_with_its_last_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar is drawn less often than steps are taken; its end agrees with what is saved."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    trainer, shown = _trainer(), Console()
    shown.on_train_start(trainer, None)
    bar = shown._bar
    assert bar is not None
    bar.start_t -= 60
    trainer.global_step = 7
    bar.last_print_t = bar.start_t + 50
    shown.on_exception(trainer)
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("training: 7 of 10 steps (70%), ")


def test_a_run_ended_by_its_time_does_not_look_unfinished(monkeypatch: pytest.MonkeyPatch) -> None:
    """It took 7 of 10 planned steps, which the note after the bar says."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    budget = TimeBudget(1)
    trainer, shown = _trainer(callbacks=[budget]), Console()
    shown.on_train_start(trainer, SimpleNamespace(seconds=0.0))
    bar = shown._bar
    assert bar is not None
    bar.start_t -= 60
    trainer.global_step = 7
    bar.last_print_t = bar.start_t + 50
    budget.is_over = True
    shown.on_train_end(trainer, None)
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("training: 7 steps, ")


def test_a_sample_is_counted_by_its_own_batches(
    compose: Callable[..., Any], small_run: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 of 2,961 held-out targets are two windows of 32, one batch of 8; all are 93 windows."""
    totals, real = [], console.progress_bar

    def noted(description: str, **options: Any) -> progress.Progress:
        if description == "validation":
            totals.append(options["total"])
        return real(description, **options)

    monkeypatch.setattr(console, "progress_bar", noted)
    pretrain(compose("train", *small_run, "validate_tokens=64"))
    assert totals == [1, 12]


def test_the_end_shows_no_figure_of_an_earlier_validation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The last validation may come after the last step is drawn; the summary has its figures."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    figures = {"train_loss": 2.5, "val_loss": 3.0, "val_accuracy": 0.5}
    trainer, shown = _trainer(callback_metrics=figures), Console("val_accuracy")
    assert shown._figures(trainer) == ["loss 2.500", "val 3.000", "accuracy 0.5000"]
    shown.on_train_start(trainer, None)
    bar = shown._bar
    assert bar is not None
    bar.start_t -= 60
    bar.last_print_t = bar.start_t + 50
    trainer.global_step = 10
    shown.on_train_end(trainer, None)
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("training: 10 of 10 steps (100%), loss 2.500, ")
    assert "val" not in line
