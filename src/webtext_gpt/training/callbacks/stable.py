"""The checkpoint before the decay of `scheduler=wsd`, from which a longer run continues."""

from pathlib import Path

import lightning as L

from webtext_gpt.checkpoint.absent import FOLDER
from webtext_gpt.checkpoint.store import BEST, LAST, STEP_NAME, STEPS
from webtext_gpt.files import remove
from webtext_gpt.settings.optimization import WarmupStableDecay
from webtext_gpt.training.callbacks.checkpoints import Checkpoints
from webtext_gpt.training.schedule import decay_start

DECAYED = "decayed-"
"""Replaces `step-` in the names of checkpoints whose decay a longer run takes back."""


class StableCheckpoint(L.Callback):
    """Keeps the checkpoint at the step where the decay begins, and names it.

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

    def state_dict(self) -> dict[str, int]:
        """Return the step at which the decay begins, which `run.before_decay` reads."""
        return {"decay_start": self.start}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Let `Checkpoints` keep the checkpoint; set those of an old decay aside."""
        self.start = decay_start_of(self.scheduler, trainer.max_steps)
        for callback in trainer.callbacks:
            if isinstance(callback, Checkpoints):
                callback.kept_steps.add(self.start)
                self._is_kept = trainer.global_step < self.start
        if self.goes_back and trainer.is_global_zero:
            self._set_aside(trainer.global_step)

    def _set_aside(self, step: int) -> None:
        for later in self.folder.glob(STEPS):
            if later.name > STEP_NAME.format(step=step):
                aside = later.with_name(later.name.replace("step-", DECAYED, 1))
                remove(aside)
                later.rename(aside)
                print(f"note        {later.name} is now {aside.name}", flush=True)
        for link in (self.folder / LAST, self.folder / BEST):
            if link.is_symlink() and not link.exists():
                link.unlink()

    def on_train_batch_start(self, trainer: L.Trainer, *args: object) -> None:
        """Name the checkpoint, which `Checkpoints` writes at this step."""
        if self._is_kept and trainer.global_step == self.start < trainer.max_steps:
            self._is_kept = False  # named once
            if trainer.is_global_zero:
                kept = self.folder / STEP_NAME.format(step=self.start)
                print(
                    f"the learning rate decays from step {self.start} on; {kept} is kept, and a "
                    "longer run continues from it: resume=... with a greater length",
                    flush=True,
                )


def decay_start_of(scheduler: WarmupStableDecay, total_steps: int) -> int:
    """Return the step at which the decay of a run of so many steps begins."""
    return decay_start(
        total_steps, warmup_steps=scheduler.warmup_steps, decay_ratio=scheduler.decay_ratio
    )
