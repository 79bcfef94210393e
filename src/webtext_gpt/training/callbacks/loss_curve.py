"""Picture of the losses, learning rate and gradient norm, drawn while the model trains."""

import time
from pathlib import Path

import lightning as L
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from webtext_gpt.training.callbacks.time_budget import ended_by_time
from webtext_gpt.training.loss_picture import draw_losses
from webtext_gpt.training.metrics import METRICS, PER_TOKEN
from webtext_gpt.training.module import TrainingModule

SHARE = 0.01
"""Largest share of the training time that is spent on drawing."""
FIRST_SECONDS = 1.0
"""Seconds that the first picture may take, which imports matplotlib."""
INTERVAL = 30.0
"""Seconds between two pictures, unless a validation has a newer result."""


class LossCurve(L.Callback):
    """Draws `loss.png` from `metrics.csv` during training and when it ends.

    A picture is drawn after a validation, or 30 seconds after the last one, as soon as all
    pictures together take no more than 1 % of the time.

    Args:
        run_dir: the run's folder.
        metric: validation metric, drawn in addition to the validation loss.
    """

    def __init__(self, run_dir: str, metric: str = "val_loss") -> None:
        self.run_dir = Path(run_dir)
        self.metric = metric
        self._meaning = PER_TOKEN
        self._began = self._drawn = time.monotonic()
        self._spent = 0.0
        self._expected = FIRST_SECONDS
        self._is_waiting = False  # the last validation is not drawn yet

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Note what the module's losses measure."""
        if isinstance(pl_module, TrainingModule):
            self._meaning = pl_module.loss_meaning

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._began = self._drawn = time.monotonic()

    @rank_zero_only
    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw the validation, now or as soon as there is time."""
        self._is_waiting = True
        self._draw_if_due(trainer)

    @rank_zero_only
    def on_train_batch_end(self, trainer: L.Trainer, *args: object) -> None:
        """Draw if it is time."""
        self._draw_if_due(trainer)

    @rank_zero_only
    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw the finished run."""
        for logger in trainer.loggers:
            logger.save()
        self._draw(trainer)

    def _draw_if_due(self, trainer: L.Trainer) -> None:
        now = time.monotonic()
        has_time = self._spent + self._expected <= SHARE * (now - self._began)
        if has_time and (self._is_waiting or now - self._drawn >= INTERVAL):
            self._draw(trainer)

    def _draw(self, trainer: L.Trainer) -> None:
        began = time.monotonic()
        metrics, picture = self.run_dir / METRICS, self.run_dir / "loss.png"
        planned = None if ended_by_time(trainer) else trainer.max_steps
        draw_losses(metrics, picture, self.metric, planned, self._meaning)
        self._drawn = time.monotonic()
        self._expected = self._drawn - began
        self._spent += self._expected
        self._is_waiting = False
