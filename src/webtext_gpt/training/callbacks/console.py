"""Progress of training, on a terminal or in a log file."""

import sys
import time
from functools import partial

import lightning as L

from webtext_gpt.progress import Progress, progress_bar
from webtext_gpt.training.callbacks.throughput import Throughput
from webtext_gpt.training.callbacks.time_budget import TimeBudget, ended_by_time


class Console(L.Callback):
    """Progress bar over the optimizer steps, with the latest losses, speed and the time left.

    Args:
        metric: validation metric to show in addition to the validation loss.
    """

    def __init__(self, metric: str = "val_loss") -> None:
        self.metric = metric
        self._bar: Progress | None = None
        self._validation: Progress | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Open the bar at the current step."""
        if not trainer.is_global_zero:
            return
        total = trainer.max_steps if trainer.max_steps > 0 else None
        self._bar = progress_bar("training", total=total, initial=trainer.global_step, unit="step")
        for callback in trainer.callbacks:
            if isinstance(callback, TimeBudget):
                self._bar.limit = partial(_rest, pl_module, 60 * callback.minutes)

    def on_train_batch_end(self, trainer: L.Trainer, *args: object) -> None:
        """Advance the bar if it is time to redraw it; only then are figures read."""
        bar = self._bar
        if bar is None or bar.disable or trainer.global_step <= bar.n:
            return
        is_first = bar.n == bar.initial
        is_due = time.time() - bar.last_print_t >= bar.mininterval
        if is_first or is_due or trainer.global_step == trainer.max_steps:
            # Reading figures makes the CPU wait for a GPU, which it does anyway on logged steps.
            on_gpu = trainer.strategy.root_device.type == "cuda"
            if not on_gpu or trainer.global_step % trainer.log_every_n_steps == 0:
                bar.figures = self._figures(trainer)
            bar.update(trainer.global_step - bar.n)

    def _figures(self, trainer: L.Trainer, *, validated: bool = True) -> list[str]:
        """Return the latest figures, as they are shown, the most important first.

        Args:
            trainer: the trainer.
            validated: whether to show those of validations.
        """
        metrics: dict[str, float] = {**trainer.callback_metrics}
        for callback in trainer.callbacks:  # before the first log, its mean so far
            if isinstance(callback, Throughput) and (speed := callback.tokens_per_second):
                metrics.setdefault("tokens_per_second", speed)
        shown = [
            ("loss {:.3f}", "train_loss"),
            ("{:,.0f} tok/s", "tokens_per_second"),
        ]
        if validated:
            shown.append(("val {:.3f}", "val_loss"))
        if validated and self.metric != "val_loss":
            shown.append((f"{self.metric.removeprefix('val_')} {{:.4f}}", self.metric))
        return [form.format(float(metrics[name])) for form, name in shown if name in metrics]

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Open a bar in place of training's; a short validation ends before it is drawn."""
        if self._bar is not None:
            own = getattr(trainer.datamodule, "validation_batches", None)
            total = sum(trainer.num_val_batches) if own is None else own
            self._validation = progress_bar(
                "validation", total=total, unit="batches", position=0, leave=False
            )

    def on_validation_batch_end(self, *args: object) -> None:
        """Advance the bar of the validation."""
        if self._validation is not None:
            self._validation.update()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Close the bar of the validation, and draw training's again."""
        self._close_validation()
        if self._bar is not None and sys.stderr.isatty():
            self._bar.refresh()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Close the bar, without the figures of a validation that is not the last."""
        if self._bar is not None:
            self._bar.figures = self._figures(trainer, validated=False)
            if ended_by_time(trainer):
                self._bar.total = None  # a share of the planned steps would look unfinished
        self._close(trainer)

    def on_exception(self, trainer: L.Trainer, *args: object) -> None:
        """Close the bar, so that the error message starts on a new line."""
        self._close(trainer)

    def _close_validation(self) -> None:
        if self._validation is not None:
            self._validation.close()
            self._validation = None

    def _close(self, trainer: L.Trainer) -> None:
        self._close_validation()
        if self._bar is not None:
            self._bar.n = max(self._bar.n, trainer.global_step)
            self._bar.close()
            self._bar = None


def _rest(module: L.LightningModule, end: float) -> float:
    """Return the seconds left until the time budget ends."""
    return end - float(module.seconds)
