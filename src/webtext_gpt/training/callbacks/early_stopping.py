"""Ending training when the figure that counts no longer improves."""

from lightning.pytorch.callbacks import EarlyStopping

from webtext_gpt.checks import whole_number
from webtext_gpt.training.callbacks.checkpoints import LESS_IS_BETTER


def early_stopping(monitor: str, patience: int | None) -> EarlyStopping | None:
    """Lightning's callback for a metric of the validation; `None` where training never ends early.

    Args:
        monitor: the metric.
        patience: validations in a row without a new best, after which training ends.

    Raises:
        UserError: the patience is no whole number above 0.
    """
    if patience is None:
        return None
    whole_number("callbacks.early_stopping.patience", patience, 1)
    mode = "min" if monitor.endswith(LESS_IS_BETTER) else "max"
    return EarlyStopping(monitor, mode=mode, patience=patience, check_on_train_epoch_end=False)
