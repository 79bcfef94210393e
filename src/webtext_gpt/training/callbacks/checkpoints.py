"""Checkpoints of a run: the newest, the best, and those kept permanently every N steps."""

import functools
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L

from webtext_gpt.checkpoint.absent import FOLDER
from webtext_gpt.checkpoint.background import BackgroundWriter
from webtext_gpt.checkpoint.space import NoSpace, free_bytes, in_gib
from webtext_gpt.checkpoint.store import BEST, LAST, STEP_NAME, STEPS
from webtext_gpt.errors import UserError, explain
from webtext_gpt.files import remove, remove_partials
from webtext_gpt.terminal import say

LESS_IS_BETTER = ("loss", "perplexity", "bits_per_byte")
"""Kinds of metrics for which a lower value is better.

The name of a source may follow, as in `val_loss_books`, or `_average`.
"""


def is_lower_better(metric: str) -> bool:
    """Return whether a metric is one for which a lower value is better, judged by its name."""
    of_source = tuple(f"val_{name}_" for name in LESS_IS_BETTER)
    return metric.endswith(LESS_IS_BETTER) or metric.startswith(of_source)


class Checkpoints(L.Callback):
    """Writes `step-00001000.ckpt` under `checkpoints/`; `last.ckpt` and `best.ckpt` are links.

    A checkpoint is written between two steps. By then the loggers have the metrics of the last
    step, and a validation due after it has run. A run killed at any time therefore neither loses
    nor repeats anything that its checkpoint contains.

    Training goes on while a copy of the checkpoint is written (`AtomicCheckpointIO`). The links
    follow, and older checkpoints are removed, when the file is complete.

    Args:
        run_dir: the run's folder.
        save_every: optimizer steps between two checkpoints. One is also written after the best
            validation so far, and when training ends or is interrupted.
        keep_last: number of the newest checkpoints to keep; more than one protects against damage.
        keep_every: optimizer steps between checkpoints that are kept permanently; `None` means
            that none are.
        monitor: validation metric that decides which checkpoint is the best.
        lower_is_better: whether a lower value of the metric is better; `None` means that its name
            tells, see `is_lower_better`.
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
        by_name = is_lower_better(monitor)
        self.lower_is_better = by_name if lower_is_better is None else lower_is_better
        self.kept_steps: set[int] = set()  # kept permanently, too; other callbacks add to it
        self.best: float | None = None
        self._best_loss: float | None = None
        self.best_step: int | None = None
        self._saved_step: int | None = 0
        self._is_noted = False

    def check_space(self, size: int, max_steps: int, before_decay: int = 0) -> None:
        """Refuse a run whose checkpoints do not fit on the disk, before it starts.

        Args:
            size: bytes of one checkpoint.
            max_steps: steps of the run; -1 if they are not known.
            before_decay: number of checkpoints that are kept from before the decay of a schedule.

        Raises:
            UserError: the disk cannot hold these, the newest, the best, and one being written.
        """
        free = free_bytes(self.folder)
        if free is None:
            return
        saved = len(list(self.folder.glob(STEPS)))
        needed = size * max(1, self.keep_last + 2 + before_decay - saved)
        if needed > free:
            decay = f", {before_decay} from before the decay" if before_decay else ""
            raise UserError(
                f"the disk of {self.run_dir} has {in_gib(free)} free, but checkpoints of "
                f"{in_gib(size)} need {in_gib(needed)} at a time: the newest "
                f"{self.keep_last}, the best{decay}, and one being written; free some space, give "
                "another run_dir, or set callbacks.checkpoints.keep_last=1"
            )
        kept = max(0, max_steps) // self.keep_every if self.keep_every else 0
        if needed + kept * size > free:
            say(
                f"note        callbacks.checkpoints.keep_every={self.keep_every} keeps {kept} "
                f"checkpoints of {in_gib(size)}; the disk has {in_gib(free)} free"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far, for a checkpoint."""
        return {"best": self.best, "best_step": self.best_step, "best_loss": self._best_loss}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; earlier versions saved neither step nor loss."""
        self.best, self.best_step = state_dict["best"], state_dict.get("best_step")
        self._best_loss = state_dict.get("best_loss")

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remove a killed run's partial files, and rename damaged checkpoints."""
        self._saved_step = trainer.global_step
        if trainer.is_global_zero:
            remove_partials(self.folder)
            remove_partials(self.run_dir)
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
        """Save after every `save_every` steps, and after the best validation.

        Raises:
            UserError: the previous checkpoint could not be written.
        """
        with self._explained():
            self._writer(trainer).check()
        step = trainer.global_step
        if step != self._saved_step and self._is_due(step):
            self.save(trainer)

    def _is_due(self, step: int) -> bool:
        kept = self.keep_every is not None and step % self.keep_every == 0
        kept = kept or step in self.kept_steps
        return step % self.save_every == 0 or kept or step == self.best_step

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remember the step with the best value of the metric; the lower loss breaks a tie."""
        metrics = trainer.callback_metrics
        if trainer.sanity_checking or trainer.global_step == 0:
            return  # weights before the first step are not this run's
        if self.monitor not in metrics:
            self._note_absent(trainer)
            return
        if trainer.global_step == self._saved_step:
            # This validation ran after resuming, so the saved checkpoint lacks its metrics.
            self._saved_step = None
        value, loss = float(metrics[self.monitor]), float(metrics.get("val_loss", math.nan))
        if self._is_new_best(value, loss):
            self.best, self.best_step, self._best_loss = value, trainer.global_step, loss

    def _note_absent(self, trainer: L.Trainer) -> None:
        """Report, once, that a validation lacks the metric that chooses the best checkpoint."""
        if self._is_noted or not trainer.is_global_zero:
            return
        self._is_noted = True
        measured = ", ".join(sorted(n for n in trainer.callback_metrics if n.startswith("val_")))
        say(
            f"the validation after step {trainer.global_step} does not measure {self.monitor}, "
            f"so no checkpoint is the best by it; callbacks.checkpoints.monitor may be: {measured}",
            sys.stderr,
        )

    def _is_new_best(self, value: float, loss: float) -> bool:
        if self.best is None or self._is_better(value, than=self.best):
            return True
        return value == self.best and self._best_loss is not None and loss < self._best_loss

    def _is_better(self, value: float, *, than: float) -> bool:
        return value < than if self.lower_is_better else value > than

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the last step, also when training stopped early."""
        self.save_new(trainer)

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Finish writing the checkpoint; the exception is reported even if that fails too."""
        self.finish_after_error(trainer)

    def finish_after_error(self, trainer: L.Trainer) -> None:
        """Wait for the checkpoint being written; report its failure instead of raising it."""
        try:
            self._writer(trainer).finish()
        except Exception as error:
            say(f"the checkpoint begun last is not written: {error}", sys.stderr)

    def save_new(self, trainer: L.Trainer) -> None:
        """Write a checkpoint, unless the last one is up to date; return when it is complete.

        Raises:
            UserError: it cannot be written.
        """
        if trainer.global_step != self._saved_step:
            self.save(trainer)
        with self._explained():
            self._writer(trainer).finish()

    def save(self, trainer: L.Trainer) -> None:
        """Start writing a checkpoint of the current step; every process takes part.

        Raises:
            UserError: it, or the previous one, cannot be written.
        """
        for logger in trainer.loggers:
            logger.save()  # a killed run would lose unwritten rows
        step = trainer.global_step
        path = self.folder / STEP_NAME.format(step=step)
        with self._explained():
            trainer.save_checkpoint(path, weights_only=False)
            self._saved_step = step
            if trainer.is_global_zero:
                is_best = step == self.best_step
                self._writer(trainer).then(functools.partial(self._written, path.name, is_best))

    def _written(self, name: str, is_best: bool) -> None:
        """Point the links at a checkpoint that is complete, and remove older ones."""
        self._point(LAST, name)
        if is_best:
            self._point(BEST, name)
        self._clear()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Name the newest complete checkpoint in the error of one that cannot be written."""
        try:
            yield
        except (OSError, NoSpace) as error:
            problem = explain(error) if isinstance(error, OSError) else str(error)
            last = self.folder / LAST
            kept = f"{last.readlink().stem} is the newest checkpoint" if last.is_symlink() else ""
            raise UserError(
                f"training stops, since a checkpoint cannot be written: {problem}, then resume "
                f"the run with resume={self.run_dir}; {kept or 'it has no checkpoint yet'}"
            ) from error

    @staticmethod
    def _writer(trainer: L.Trainer) -> BackgroundWriter:
        writer: BackgroundWriter = trainer.strategy.checkpoint_io.writer
        return writer

    def restore_best(self) -> None:
        """Point `best.ckpt` at the best checkpoint again, after a later one was removed."""
        if self.best_step is not None:
            name = STEP_NAME.format(step=self.best_step)
            if (self.folder / name).exists():
                self._point(BEST, name)

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
