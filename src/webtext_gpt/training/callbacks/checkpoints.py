"""Checkpoints of a run: the newest, the best, and those kept permanently every N steps."""

from pathlib import Path
from typing import Any

import lightning as L

from webtext_gpt.checkpoint.absent import FOLDER
from webtext_gpt.checkpoint.store import BEST, LAST, STEP_NAME, STEPS
from webtext_gpt.errors import UserError
from webtext_gpt.files import remove, remove_partials

LESS_IS_BETTER = (
    *("loss", "perplexity", "bits_per_byte"),
    *("loss_average", "perplexity_average", "bits_per_byte_average"),
)
"""Endings of the names of metrics for which a lower value is better."""


class Checkpoints(L.Callback):
    """Writes `step-00001000.ckpt` under `checkpoints/`; `last.ckpt` and `best.ckpt` are links.

    A checkpoint is written between two steps. By then the loggers have the metrics of the last
    step, and a validation due after it has run. A run killed at any time therefore neither loses
    nor repeats anything that its checkpoint contains.

    Args:
        run_dir: the run's folder.
        save_every: optimizer steps between two checkpoints. One is also written after the best
            validation so far, and when training ends or is interrupted.
        keep_last: number of the newest checkpoints to keep; more than one protects against damage.
        keep_every: optimizer steps between checkpoints that are kept permanently; `None` means
            that none are.
        monitor: validation metric that decides which checkpoint is the best.
        lower_is_better: whether a lower value of the metric is better; `None` means that its name
            tells, see `LESS_IS_BETTER`.
    """

    def __init__(
        self,
        run_dir: str,
        *,
        save_every: int,
        keep_last: int = 2,
        keep_every: int | None = None,
        monitor: str = "val_loss",
        lower_is_better: bool | None = None,
    ) -> None:
        numbers = {"save_every": save_every, "keep_last": keep_last, "keep_every": keep_every}
        for name, value in numbers.items():
            if value is not None and value < 1:
                raise UserError(f"callbacks.checkpoints.{name}={value} must be at least 1")
        self.run_dir = Path(run_dir)
        self.folder = self.run_dir / FOLDER
        self.save_every = save_every
        self.keep_last = keep_last
        self.keep_every = keep_every
        self.monitor = monitor
        by_name = monitor.endswith(LESS_IS_BETTER)
        self.lower_is_better = by_name if lower_is_better is None else lower_is_better
        self.kept_steps: set[int] = set()  # kept permanently, too; other callbacks add to it
        self.best: float | None = None
        self._best_step: int | None = None
        self._saved_step: int | None = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far, for a checkpoint."""
        return {"best": self.best, "best_step": self._best_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; earlier versions did not save the step."""
        self.best, self._best_step = state_dict["best"], state_dict.get("best_step")

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remove a killed run's partial files, and rename damaged checkpoints."""
        self._saved_step = trainer.global_step
        if trainer.is_global_zero:
            remove_partials(self.folder)
            for left in self.folder.glob(".*.old"):
                remove(left)
            for later in self.folder.glob(STEPS):
                if later.name > STEP_NAME.format(step=trainer.global_step):
                    damaged = later.with_name(f"{later.name}.damaged")
                    remove(damaged)
                    later.rename(damaged)
                    if (self.folder / LAST).is_symlink():
                        (self.folder / LAST).unlink()

    def on_train_batch_start(self, trainer: L.Trainer, *args: object) -> None:
        """Save after every `save_every` steps, and after the best validation."""
        step = trainer.global_step
        if step != self._saved_step and self._is_due(step):
            self.save(trainer)

    def _is_due(self, step: int) -> bool:
        kept = self.keep_every is not None and step % self.keep_every == 0
        kept = kept or step in self.kept_steps
        return step % self.save_every == 0 or kept or step == self._best_step

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remember the step with the best value of the metric."""
        value = trainer.callback_metrics.get(self.monitor)
        if trainer.sanity_checking or value is None:
            return
        if trainer.global_step == self._saved_step:
            # This validation ran after resuming, so the saved checkpoint lacks its metrics.
            self._saved_step = None
        if self.best is None or self._is_better(float(value), than=self.best):
            self.best, self._best_step = float(value), trainer.global_step

    def _is_better(self, value: float, *, than: float) -> bool:
        return value < than if self.lower_is_better else value > than

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the last step, also when training stopped early."""
        self.save_new(trainer)

    def save_new(self, trainer: L.Trainer) -> None:
        """Write a checkpoint, unless the last one is up to date."""
        if trainer.global_step != self._saved_step:
            self.save(trainer)

    def save(self, trainer: L.Trainer) -> None:
        """Write a checkpoint of the current step; every process takes part."""
        for logger in trainer.loggers:
            logger.save()  # a killed run would lose unwritten rows
        step = trainer.global_step
        path = self.folder / STEP_NAME.format(step=step)
        trainer.save_checkpoint(path, weights_only=False)
        self._saved_step = step
        if trainer.is_global_zero:
            self._point(LAST, path.name)
            if step == self._best_step:
                self._point(BEST, path.name)
            self._clear()

    def _point(self, name: str, target: str) -> None:
        """Point a link at a checkpoint in the same folder, atomically."""
        partial = self.folder / f".{name}.partial"
        partial.unlink(missing_ok=True)
        partial.symlink_to(target)
        partial.replace(self.folder / name)

    def _clear(self) -> None:
        """Remove the checkpoints that are no longer to be kept."""
        best = self.folder / BEST
        stay = {STEP_NAME.format(step=step) for step in self.kept_steps}
        stay |= {best.readlink().name} if best.is_symlink() else set()
        for path in sorted(self.folder.glob(STEPS), reverse=True)[self.keep_last :]:
            step = int(path.stem.removeprefix("step-"))
            if path.name not in stay and not (self.keep_every and step % self.keep_every == 0):
                old = path.with_name(f".{path.name}.old")
                path.rename(old)  # a half-removed folder must not look like a checkpoint
                remove(old)
