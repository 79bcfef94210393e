"""Notes on settings that fit badly together."""

from collections.abc import Callable
from typing import Any

import pytest

from webtext_gpt.training.callbacks.notes import Notes


@pytest.mark.parametrize("scheduler", ["cosine", "linear", "inverse_sqrt", "constant", "wsd"])
@pytest.mark.parametrize("command", ["train", "finetune"])
def test_a_warm_up_that_is_not_shorter_than_the_run_is_said(
    command: str, scheduler: str, compose: Callable[..., Any]
) -> None:
    settings = compose(command, f"scheduler={scheduler}", "scheduler.warmup_steps=40").scheduler
    notes = Notes(settings, 1, "global_batch_tokens", 0.1)
    (line,) = notes.lines(40)
    assert line.startswith("scheduler.warmup_steps=40 is not shorter than the run, which has 40")
    assert line.endswith("set scheduler.warmup_steps=4 or a longer run")
    assert all("only rises" not in line for line in notes.lines(41))


def test_a_warm_up_that_is_a_fraction_is_said_by_its_key(compose: Callable[..., Any]) -> None:
    settings = compose("finetune", "scheduler.warmup_ratio=0.9").scheduler
    notes = Notes(settings, 1, "batch_size", 0.1)
    assert list(notes.lines(10)) == []  # 9 of 10 steps
    (line,) = notes.lines(4)  # 3.6 of 4 steps, rounded
    assert line.startswith("scheduler.warmup_ratio=0.9 is not shorter than the run")


def test_a_decay_that_does_not_fit_is_said(compose: Callable[..., Any]) -> None:
    settings = compose("train", "scheduler=wsd", "scheduler.warmup_steps=9").scheduler
    notes = Notes(settings, 1, "global_batch_tokens", 0.1)
    assert list(notes.lines(12)) == []  # 9 and 2 of 12 steps
    (line,) = notes.lines(10)  # 9 and 2 of 10
    assert line.startswith("scheduler.warmup_steps=9 and the decay of 2 steps are longer than")
