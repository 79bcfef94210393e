"""The checkpoint before the decay of `scheduler=wsd`, from which a longer run continues."""

from pathlib import Path

import lightning as L

from webtext_gpt.checkpoint.absent import FOLDER
from webtext_gpt.checkpoint.store import BEST, LAST, STEP_NAME, STEPS
from webtext_gpt.files import remove
from webtext_gpt.settings.optimization import WarmupStableDecay
from webtext_gpt.terminal import say
from webtext_gpt.training.callbacks.checkpoints import Checkpoints
from webtext_gpt.training.schedule import decay_start

DECAYED = "decayed-"
"""Replaces `step-` in the names of decayed checkpoints that a longer run sets aside."""


class StableCheckpoint(L.Callback):
    """Keeps the checkpoint at the step where the decay begins, names it, and keeps the best before.

    When a longer run goes back to it, the checkpoints of the old decay are renamed to
    `decayed-00001000.ckpt`. They stay usable as models, but the run does not resume from them.

    Args:
        run_dir: the run's folder.
        scheduler: the schedule.
        goes_back: whether this call resumes from before the decay of the run.
    """

    def __init__(self, run_dir: Path, scheduler: WarmupStableDecay, *, goes_back: bool) -> None:
        self.folder = run_dir / FOLDER
        self.scheduler = scheduler
        self.goes_back = goes_back
        self.start = 0
        self._is_kept = False
        self._best_step: int | None = None  # the best before the decay

    def state_dict(self) -> dict[str, int | None]:
        """Return where the decay begins, which `run.before_decay` reads, and the best before it."""
        return {"decay_start": self.start, "best_step": self._best_step}

    def load_state_dict(self, state_dict: dict[str, int | None]) -> None:
        """Restore the best step; earlier versions did not save it."""
        self._best_step = state_dict.get("best_step")

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Let `Checkpoints` keep the checkpoint; set those of an old decay aside."""
        self.start = decay_start_of(self.scheduler, trainer.max_steps)
        if trainer.global_step < self.start:
            self._best_step = None
        goes_back = self.goes_back and trainer.is_global_zero
        if goes_back:
            self._set_aside(trainer.global_step)
        for callback in _checkpoints(trainer):
            self._is_kept = trainer.global_step < self.start
            self._keep(callback)
            if goes_back:
                callback.restore_best()

    def _keep(self, checkpoints: Checkpoints) -> None:
        """Mark the checkpoints from which a longer run can continue as permanent."""
        steps = {self.start, self._best_step}
        checkpoints.kept_steps |= {step for step in steps if step is not None}

    def _set_aside(self, step: int) -> None:
        for later in self.folder.glob(STEPS):
            if later.name > STEP_NAME.format(step=step):
                aside = later.with_name(later.name.replace("step-", DECAYED, 1))
                remove(aside)
                later.rename(aside)
                say(f"note        {later.name} is now {aside.name}")
        for link in (self.folder / LAST, self.folder / BEST):
            if link.is_symlink() and not link.exists():
                link.unlink()

    def on_train_batch_start(self, trainer: L.Trainer, *args: object) -> None:
        """Keep the best checkpoint, and name the one that `Checkpoints` writes at this step."""
        if self._is_kept and trainer.global_step == self.start < trainer.max_steps:
            self._is_kept = False  # named once
            for callback in _checkpoints(trainer):
                self._best_step = callback.best_step
                self._keep(callback)
            if trainer.is_global_zero:
                kept = self.folder / STEP_NAME.format(step=self.start)
                say(
                    f"the learning rate decays from step {self.start} on; {kept} is kept, and a "
                    "longer run continues from it: resume=... with a greater length"
                )


def _checkpoints(trainer: L.Trainer) -> list[Checkpoints]:
    return [callback for callback in trainer.callbacks if isinstance(callback, Checkpoints)]


def decay_start_of(scheduler: WarmupStableDecay, total_steps: int) -> int:
    """Return the step at which the decay begins in a run of `total_steps` steps."""
    return decay_start(
        total_steps, warmup_steps=scheduler.warmup_steps, decay_ratio=scheduler.decay_ratio
    )
