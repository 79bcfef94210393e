"""Which validation is the best: by the metric, and at equal values by the loss."""

from types import SimpleNamespace
from typing import cast

import lightning as L
import pytest
import torch

from webtext_gpt.training.callbacks.checkpoints import Checkpoints


def _after(checkpoints: Checkpoints, step: int, **metrics: float) -> int | None:
    """Return the best step after one more validation."""
    values = {name: torch.tensor(value) for name, value in metrics.items()}
    trainer = SimpleNamespace(callback_metrics=values, sanity_checking=False, global_step=step)
    checkpoints.on_validation_end(cast("L.Trainer", trainer), L.LightningModule())
    return checkpoints.state_dict()["best_step"]


def test_the_lower_loss_breaks_a_tie() -> None:
    checkpoints = Checkpoints("run", save_every=1, monitor="val_accuracy")
    assert _after(checkpoints, 1, val_accuracy=0.5, val_loss=0.7) == 1
    assert _after(checkpoints, 2, val_accuracy=0.75, val_loss=0.9) == 2
    assert _after(checkpoints, 3, val_accuracy=0.75, val_loss=0.9) == 2
    assert _after(checkpoints, 4, val_accuracy=0.75, val_loss=0.8) == 4
    assert _after(checkpoints, 5, val_accuracy=0.75, val_loss=float("nan")) == 4
    assert _after(checkpoints, 6, val_accuracy=0.5, val_loss=0.1) == 4
    resumed = Checkpoints("run", save_every=1, monitor="val_accuracy")
    resumed.load_state_dict(checkpoints.state_dict())
    assert _after(resumed, 7, val_accuracy=0.75, val_loss=0.85) == 4
    assert _after(resumed, 8, val_accuracy=0.75, val_loss=0.75) == 8


@pytest.mark.parametrize("state", [{"best": 0.75}, {"best": 0.75, "best_step": 4}])
def test_a_state_of_earlier_versions_keeps_the_first_of_a_tie(state: dict[str, float]) -> None:
    checkpoints = Checkpoints("run", save_every=1, monitor="val_accuracy")
    checkpoints.load_state_dict(state)
    assert _after(checkpoints, 5, val_accuracy=0.75, val_loss=0.1) == state.get("best_step")
    assert _after(checkpoints, 6, val_accuracy=0.8, val_loss=0.9) == 6


def test_without_a_loss_the_first_of_a_tie_stays() -> None:
    checkpoints = Checkpoints("run", save_every=1, monitor="val_score")
    assert _after(checkpoints, 1, val_score=0.5) == 1
    assert _after(checkpoints, 2, val_score=0.5) == 1


def test_a_tie_of_the_loss_itself_keeps_the_first() -> None:
    checkpoints = Checkpoints("run", save_every=1)
    assert _after(checkpoints, 1, val_loss=0.5) == 1
    assert _after(checkpoints, 2, val_loss=0.5) == 1
    assert _after(checkpoints, 3, val_loss=0.25) == 3
