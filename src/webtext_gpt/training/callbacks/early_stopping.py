"""Stop training early when the monitored metric no longer improves."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from webtext_gpt.settings import whole_number
from webtext_gpt.terminal import say
from webtext_gpt.training.callbacks.checkpoints import is_lower_better


def early_stopping(
    monitor: str, patience: int | None, lower_is_better: bool | None = None
) -> "Patience | None":
    """Return the callback for a validation metric; `None` if `patience` is `None`.

    Raises:
        UserError: the patience is not a whole number above 0.
    """
    if patience is None:
        return None
    whole_number("callbacks.early_stopping.patience", patience, 1)
    return Patience(monitor, patience, lower_is_better)


class Patience(EarlyStopping):
    """Lightning's early stopping, with the same effect on resumed and uninterrupted runs.

    Args:
        monitor: the metric.
        patience: validations in a row without a new best before training ends.
        lower_is_better: see `Checkpoints`.
    """

    def __init__(self, monitor: str, patience: int, lower_is_better: bool | None = None) -> None:
        if lower_is_better is None:
            lower_is_better = is_lower_better(monitor)
        mode = "min" if lower_is_better else "max"
        super().__init__(monitor, mode=mode, patience=patience, check_on_train_epoch_end=False)

    @property
    def is_over(self) -> bool:
        """Whether the patience is exhausted."""
        return bool(self.wait_count >= self.patience)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the count, but keep this call's patience."""
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Count a validation, unless it lacks the metric, which `Checkpoints` reports."""
        if self.monitor in trainer.callback_metrics:
            super().on_validation_end(trainer, pl_module)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take no further step if the patience was exhausted before the run was interrupted."""
        trainer.should_stop = trainer.should_stop or self.is_over

    @rank_zero_only
    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print why training ended."""
        if self.is_over:
            say(
                f"training ends at step {trainer.global_step:,}: {self.wait_count} validations "
                f"without a better {self.monitor} than {float(self.best_score):.4f}",
                label="note",
            )
