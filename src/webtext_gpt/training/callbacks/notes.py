"""Notes, printed before the first step, on settings that are valid but rarely meant together."""

from collections.abc import Iterator

import lightning as L

from webtext_gpt.data.rows import plural
from webtext_gpt.settings.optimization import Linear, Scheduler, WarmupStableDecay
from webtext_gpt.terminal import say


class Notes(L.Callback):
    """Prints a line for each combination of settings that may not do what the user expects.

    The length of a run that is limited by time alone is known only when it starts, so this is a
    callback.

    Args:
        scheduler: settings of the schedule.
        validate_every: optimizer steps between validations.
        batch_key: the setting that gives the size of the global batch.
        epochs_per_step: passes over the training data in one optimizer step.
    """

    def __init__(
        self, scheduler: Scheduler, validate_every: int, batch_key: str, epochs_per_step: float
    ) -> None:
        self.scheduler = scheduler
        self.validate_every = validate_every
        self.batch_key = batch_key
        self.epochs_per_step = epochs_per_step
        self._planned_steps = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print the notes on rank 0."""
        self._planned_steps = trainer.max_steps
        if trainer.is_global_zero:
            for line in self.lines(trainer.max_steps):
                say(line, label="note")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print on rank 0 if training, cut short by time or patience, has ended in warm-up."""
        steps, (key, warmup) = trainer.global_step, self._warmup(self._planned_steps)
        if trainer.is_global_zero and steps < warmup < self._planned_steps:
            say(
                f"note        training ended at step {steps}, within the {warmup} warm-up steps of "
                f"{key}; the learning rate never reached its peak"
            )

    def lines(self, steps: int) -> Iterator[str]:
        """Yield the notes on a run of `steps` optimizer steps."""
        key, warmup = self._warmup(steps)
        if warmup > 1 and warmup >= steps:
            yield (
                f"{key} is not shorter than the run, which has {plural(steps, 'step')}, so the "
                f"learning rate only rises; set scheduler.warmup_steps={steps // 10} or a longer "
                "run"
            )
        elif isinstance(self.scheduler, WarmupStableDecay):
            decay = round(self.scheduler.decay_ratio * steps)
            if warmup + decay > steps:
                yield (
                    f"{key} and the decay of {plural(decay, 'step')} are longer than the run, "
                    f"which has {plural(steps, 'step')}, so the decay is shortened"
                )
        if self.validate_every > steps:
            yield (
                f"validate_every={self.validate_every} is beyond the last step, {steps}; there is "
                "one validation, at the end"
            )
        if self.epochs_per_step > 1:
            yield (
                f"one optimizer step reads the training data {self.epochs_per_step:.1f} times; "
                f"set a smaller {self.batch_key}"
            )

    def _warmup(self, steps: int) -> tuple[str, int]:
        """Return the warm-up's setting as `key=value`, and its length in optimizer steps."""
        warmup = self.scheduler.warmup_steps
        if warmup is not None:
            return f"scheduler.warmup_steps={warmup}", warmup
        ratio = self.scheduler.warmup_ratio if isinstance(self.scheduler, Linear) else 0.0
        return f"scheduler.warmup_ratio={ratio:g}", round(ratio * steps)
