"""Checkpoints of a run: the best, the last, and every N steps one that stays."""

from pathlib import Path
from typing import Any

import lightning as L

from webtext_gpt.checkpoint import BEST, FOLDER, LAST
from webtext_gpt.errors import UserError


class Checkpoints(L.Callback):
    """Writes `best.ckpt`, `last.ckpt` and `step-00001000.ckpt` under the run's `checkpoints/`.

    Args:
        run_dir: the run's folder.
        save_every: optimizer steps between two writes of `last.ckpt`; it is also written when
            training ends or is interrupted.
        keep_every: optimizer steps between two checkpoints that are kept; `None` keeps none.
        monitor: metric of the validation whose least value is the best.
    """

    def __init__(
        self,
        run_dir: str,
        *,
        save_every: int,
        keep_every: int | None = None,
        monitor: str = "val_loss",
    ) -> None:
        if save_every < 1:
            raise UserError(f"callbacks.checkpoints.save_every={save_every} must be at least 1")
        self.folder = Path(run_dir) / FOLDER
        self.save_every = save_every
        self.keep_every = keep_every
        self.monitor = monitor
        self.best: float | None = None
        self._last_step = 0

    def state_dict(self) -> dict[str, Any]:
        """The best value so far, for a run that goes on."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        self.best = state_dict["best"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remember the step that training starts from."""
        self._last_step = trainer.global_step

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        """Save when a whole optimizer step, of the right number, is done."""
        step = trainer.global_step
        if step == self._last_step:
            return
        self._last_step = step
        if self.keep_every and step % self.keep_every == 0:
            trainer.save_checkpoint(self.folder / f"step-{step:08d}.ckpt", weights_only=False)
        if step % self.save_every == 0:
            trainer.save_checkpoint(self.folder / LAST, weights_only=False)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save when the metric is better than before."""
        value = trainer.callback_metrics.get(self.monitor)
        if trainer.sanity_checking or value is None:
            return
        if self.best is None or float(value) < self.best:
            self.best = float(value)
            trainer.save_checkpoint(self.folder / BEST, weights_only=False)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save where training stopped, be it early."""
        trainer.save_checkpoint(self.folder / LAST, weights_only=False)
