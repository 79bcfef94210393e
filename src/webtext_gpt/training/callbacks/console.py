"""Progress of training, on a terminal or in a log file."""

import time

import lightning as L
from tqdm import tqdm

from webtext_gpt.progress import progress_bar


class Console(L.Callback):
    """Progress bar over the optimizer steps, with the latest losses and the speed.

    Args:
        metric: validation metric to show in addition to the validation loss.
    """

    def __init__(self, metric: str = "val_loss") -> None:
        self.metric = metric
        self._bar: tqdm | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Open the bar at the current step."""
        if trainer.is_global_zero:
            total = trainer.max_steps if trainer.max_steps > 0 else None
            self._bar = progress_bar("training", total=total, initial=trainer.global_step)

    def on_train_batch_end(self, trainer: L.Trainer, *args: object) -> None:
        """Advance the bar if it is time to draw it; figures are read no oftener than drawn."""
        if self._bar is None or self._bar.disable or trainer.global_step <= self._bar.n:
            return
        is_due = time.time() - self._bar.last_print_t >= self._bar.mininterval
        if is_due or trainer.global_step == trainer.max_steps:
            # Reading figures makes the CPU wait for a GPU, which it does anyway on logged steps.
            on_gpu = trainer.strategy.root_device.type == "cuda"
            if not on_gpu or trainer.global_step % trainer.log_every_n_steps == 0:
                self._bar.set_postfix(self._figures(trainer), refresh=False)
            self._bar.update(trainer.global_step - self._bar.n)

    def _figures(self, trainer: L.Trainer) -> dict[str, str]:
        """Return the latest figures, as they are shown."""
        metrics = trainer.callback_metrics
        return {
            short: f"{float(metrics[name]):{form}}"
            for short, name, form in (
                ("loss", "train_loss", ".3f"),
                ("val", "val_loss", ".3f"),
                (self.metric.removeprefix("val_"), self.metric, ".4f"),
                ("tok/s", "tokens_per_second", ",.0f"),
            )
            if name in metrics and (short, name) != ("loss", "val_loss")
        }

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Close the bar."""
        self._close()

    def on_exception(self, trainer: L.Trainer, *args: object) -> None:
        """Close the bar, so that the error message starts on a new line."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
