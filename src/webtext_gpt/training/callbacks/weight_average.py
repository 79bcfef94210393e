"""An average of the weights during training (`average=ema`, `average=window`)."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch.optim import Optimizer

from webtext_gpt.checkpoint.absent import FOLDER
from webtext_gpt.checkpoint.store import LAST, open_checkpoint
from webtext_gpt.data.rows import plural
from webtext_gpt.terminal import from_here, quoted, say
from webtext_gpt.training.averaging import Average, forget, write_average


class WeightAverage(L.Callback):
    """Updates an average of the weights after every step; training does not depend on it.

    `torch.optim.swa_utils.AveragedModel`, and Lightning's callbacks that use it, hold a complete
    second model on every device, need all weights in one place to save it, and leave the averaged
    weights in place of the last ones.

    Args:
        run_dir: the run's folder.
        average: the kind of average.

    Attributes:
        steps: optimizer steps averaged.
    """

    def __init__(self, run_dir: Path, average: Average) -> None:
        self.run_dir = run_dir
        self.average = average
        self.steps = 0
        self._last_step = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the number of steps and the kind of average; its values are in the optimizer."""
        return {"steps": self.steps, "kind": repr(self.average)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the number of steps, or begin again with another kind of average."""
        self.steps = state_dict["steps"] if state_dict["kind"] == repr(self.average) else 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remember the step at which training starts."""
        self._last_step = trainer.global_step
        if self.steps == 0:
            forget(inner_optimizer(trainer).state)

    def on_train_batch_end(self, trainer: L.Trainer, *args: object) -> None:
        """Update the average after each optimizer step."""
        if trainer.global_step == self._last_step:
            return
        self._last_step = trainer.global_step
        self.steps += 1
        for weight, state in inner_optimizer(trainer).state.items():
            self.average.update(state, weight, self.steps)

    def figures(self, trainer: L.Trainer, pl_module: Any) -> dict[str, float]:
        """Validate with the averaged weights; return the figures as `val_loss_average` and so on.

        Every process takes part, inside the validation of the last weights.
        """
        with self._in_place(trainer) as is_there:
            if not is_there:
                return {}
            pl_module.on_validation_epoch_start()
            loaders = trainer.val_dataloaders
            loaders = loaders if isinstance(loaders, list) else [loaders]  # one for each source
            for source, (loader, most) in enumerate(
                zip(loaders, trainer.num_val_batches, strict=True)
            ):
                of_source = {"dataloader_idx": source} if len(loaders) > 1 else {}
                limit = None if math.isinf(most) else int(most)
                for index, batch in enumerate(islice(loader, limit)):
                    on_device = trainer.strategy.batch_to_device(batch)
                    trainer.strategy.validation_step(on_device, index, **of_source)
            figures: dict[str, float] = pl_module.validation_figures()
        return {f"{name}_average": value for name, value in figures.items()}

    @contextmanager
    def _in_place(self, trainer: L.Trainer) -> Iterator[bool]:
        """Put the average in place of the weights inside the block; yield whether there is one."""
        last: list[tuple[torch.Tensor, torch.Tensor]] = []
        with torch.no_grad():
            for weight, state in inner_optimizer(trainer).state.items():
                mean = self.average.mean(state)
                if mean is not None:
                    last.append((weight, weight.detach().clone()))
                    weight.copy_(mean)
            _publish(trainer)
            try:
                yield bool(last)
            finally:
                for weight, value in last:
                    weight.copy_(value)
                _publish(trainer)

    def write(self, names: list[list[str]]) -> None:
        """Write `average.ckpt` from the run's last checkpoint, on rank 0 after training.

        Args:
            names: names of the parameters in each group of the optimizer.
        """
        last = self.run_dir / FOLDER / LAST
        if last.exists():
            listed = list(chain.from_iterable(names))
            path = write_average(open_checkpoint(last), self.average, listed)
            steps = plural(self.steps, "step")
            none = f"none is written after {steps}, fewer than average.interval"
            say(f"average     {none if path is None else f'{quoted(from_here(path))}, of {steps}'}")


def weight_average(trainer: L.Trainer) -> WeightAverage | None:
    """Return the trainer's average of the weights, if it has one."""
    return next((c for c in trainer.callbacks if isinstance(c, WeightAverage)), None)


def inner_optimizer(trainer: L.Trainer) -> Optimizer:
    """Return the torch optimizer, also if DeepSpeed wraps it."""
    optimizer: Optimizer = (
        getattr(trainer.strategy, "inner_optimizer", None) or (trainer.optimizers[0])
    )
    return optimizer


def _publish(trainer: L.Trainer) -> None:
    """Copy changed fp32 weights to the parameters used for computation, if these are separate."""
    publish = getattr(trainer.strategy, "publish_weights", None)
    if publish is not None:
        publish()
