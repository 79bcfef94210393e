"""Stop training at the next step, with everything saved, on Ctrl-C or a scheduler's signal."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import lightning as L

from webtext_gpt.checkpoint.absent import FOLDER
from webtext_gpt.checkpoint.store import STEPS
from webtext_gpt.data.rows import plural
from webtext_gpt.errors import EXIT_PREEMPTED, Stopped
from webtext_gpt.training.callbacks.checkpoints import Checkpoints
from webtext_gpt.training.distributed.collectives import greatest_over_ranks

SYSTEM = (signal.SIGTERM, signal.SIGUSR1)
"""Signals that schedulers send before they end a job; SLURM sends the one in `--signal`."""

STDERR = 2
ACKNOWLEDGED = b"\nstopping after this step; Ctrl-C again stops at once, without saving\n"

Handler = Callable[[int, FrameType | None], object] | int | None
"""A handler, as `signal.signal` takes and returns it."""


class GracefulInterrupt(L.Callback):
    """Stops all processes in order after a signal to any of them; a second Ctrl-C stops at once.

    The processes agree after every step. A validation that is due or running is postponed: the
    resumed run starts with it. A second Ctrl-C is Python's usual one, which `run.fit` reports.

    Args:
        resume: the command that resumes the run, for messages.
    """

    def __init__(self, resume: str = "resume=...") -> None:
        self.resume = resume
        self._is_rank_zero = True
        self._requested = 0  # number of the signal received
        self._last_step = 0
        self._previous: dict[int, Handler] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Install the signal handlers."""
        self._last_step = trainer.global_step
        self._is_rank_zero = trainer.is_global_zero
        for number in (signal.SIGINT, *SYSTEM):
            self._previous[number] = signal.signal(number, self._request)

    def _request(self, signum: int, frame: FrameType | None) -> None:
        self._requested = signum
        if signum == signal.SIGINT:
            signal.signal(signum, self._previous[signum])
            if self._is_rank_zero:  # print() could be interrupted in a print()
                os.write(STDERR, ACKNOWLEDGED)

    def on_train_batch_start(self, trainer: L.Trainer, *args: object) -> None:
        """Stop between two steps if any process has received a signal."""
        if trainer.global_step != self._last_step:
            self._last_step = trainer.global_step
            self._stop_if_asked(trainer)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Postpone the validation if any process has received a signal."""
        self._stop_if_asked(trainer)

    def on_validation_batch_start(self, trainer: L.Trainer, *args: object) -> None:
        """Abandon the validation if any process has received a signal."""
        self._stop_if_asked(trainer)

    def _stop_if_asked(self, trainer: L.Trainer) -> None:
        signum = greatest_over_ranks(self._requested)
        if not signum:
            return
        for callback in trainer.callbacks:
            if isinstance(callback, Checkpoints):
                callback.save_new(trainer)
        name = signal.Signals(signum).name
        raise Stopped(
            f"{'interrupted' if signum == signal.SIGINT else f'stopped by {name}'}; "
            f"step {trainer.global_step} is saved. Resume with:\n  {self.resume}",
            exit_code=EXIT_PREEMPTED if signum in SYSTEM else 1,
        )

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Restore the previous signal handlers."""
        self._restore()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Restore the previous signal handlers.

        After a second Ctrl-C, Lightning ignores any further one. That stays so until the checkpoint
        being written is complete and `run.fit` has said what is saved.
        """
        if isinstance(exception, KeyboardInterrupt):
            self._previous.pop(signal.SIGINT, None)
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()


def stopped_at_once(run_dir: Path, step: int, resume: str) -> str:
    """Return what a second Ctrl-C has left of a run, and how to resume.

    Args:
        run_dir: the run's folder.
        step: optimizer steps taken.
        resume: the command that resumes the run.
    """
    saved = [int(path.stem.removeprefix("step-")) for path in (run_dir / FOLDER).glob(STEPS)]
    if not saved:
        return (
            f"stopped at once after step {step:,}, before the first checkpoint; this starts again "
            f"at step 0:\n  {resume}"
        )
    lost = step - max(saved)
    rest = f", so {plural(lost, 'step')} will be taken again" if lost > 0 else ""
    return (
        f"stopped at once after step {step:,}; the last checkpoint is of step {max(saved):,}"
        f"{rest}. Resume with:\n  {resume}"
    )
