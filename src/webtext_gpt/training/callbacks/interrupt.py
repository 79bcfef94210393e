"""Ctrl-C ends training after the step under way, with everything saved."""

import signal
from types import FrameType
from typing import Any

import lightning as L
import torch


class GracefulInterrupt(L.Callback):
    """Turns the first Ctrl-C into an orderly stop; a second one stops at once.

    Attributes:
        interrupted: whether training was stopped so.
    """

    def __init__(self) -> None:
        self.interrupted = False
        self._requested = False
        self._last_step = 0
        self._previous: Any = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take over SIGINT."""
        self._last_step = trainer.global_step
        self._previous = signal.signal(signal.SIGINT, self._request)

    def _request(self, signum: int, frame: FrameType | None) -> None:
        self._requested = True
        signal.signal(signal.SIGINT, self._previous)

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        """After a whole optimizer step, stop if any process was asked to."""
        if trainer.global_step == self._last_step:
            return
        self._last_step = trainer.global_step
        requested = self._requested
        if trainer.world_size > 1:
            flag = torch.tensor(float(requested), device=trainer.strategy.root_device)
            requested = bool(trainer.strategy.reduce(flag, reduce_op="sum") > 0)
        if requested:
            self.interrupted = True
            trainer.should_stop = True

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Give SIGINT back."""
        signal.signal(signal.SIGINT, self._previous)
