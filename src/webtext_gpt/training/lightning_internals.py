"""Every private name of Lightning (and of torch's schedulers) that training relies on.

Lightning's public interface cannot run a validation between two steps on request, recount its
batches after the accumulation has changed, or watch the processes that it starts. Only this file
uses the private names needed for that. `SUPPORTED` names the versions it was tested with; a
missing name is reported with that range.
"""

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from lightning.pytorch.plugins.environments import ClusterEnvironment

from webtext_gpt.errors import UserError

SUPPORTED = "lightning >= 2.6, < 2.7, without 2.6.2 and 2.6.3"

try:
    from lightning.fabric.utilities.distributed import _set_num_threads_if_needed
    from lightning.pytorch.loops.fit_loop import _FitLoop
    from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
    from lightning.pytorch.strategies.launchers.subprocess_script import (
        _basic_subprocess_cmd,
        _SubprocessScriptLauncher,
    )
except ImportError as error:
    raise UserError(
        f"lightning {L.__version__} is installed, but webtext-gpt supports {SUPPORTED}: {error}"
    ) from error

SubprocessLauncher = _SubprocessScriptLauncher
subprocess_command = _basic_subprocess_cmd
set_num_threads = _set_num_threads_if_needed


class FitLoop(_FitLoop):
    """Fit loop that also runs with zero steps left, so that a missing final validation runs."""

    @property
    def skip(self) -> bool:
        """Always false: finished runs are recognized earlier, by `run.is_finished`."""
        return False


class EpochLoop(_TrainingEpochLoop):
    """Epoch loop without Lightning's broadcast of SIGTERM before each micro-batch.

    That broadcast goes through the GPUs, and the CPU waits for it. `GracefulInterrupt` has its own
    handlers, and the processes agree once per step.
    """

    def _broadcast_sigterm_tensor(self) -> None:
        pass


def use_own_loops(trainer: L.Trainer) -> None:
    """Give a trainer our `FitLoop` and `EpochLoop`."""
    trainer.fit_loop.__class__ = FitLoop
    trainer.fit_loop.epoch_loop.__class__ = EpochLoop


def logs_step(trainer: L.Trainer) -> bool:
    """Return whether Lightning logs the current optimizer step, and so reads its figures back."""
    return bool(trainer._logger_connector.should_update_logs)


def cluster_environment(trainer: L.Trainer) -> ClusterEnvironment:
    """Return the environment from which a trainer takes its ranks."""
    return trainer._accelerator_connector.cluster_environment


def set_max_steps(trainer: L.Trainer, steps: int) -> None:
    """Set the number of optimizer steps of a trainer that already exists."""
    trainer.fit_loop.epoch_loop.max_steps = steps


def start_at_new_step(trainer: L.Trainer) -> None:
    """Make a resumed loop start with a new step, not in the middle of one."""
    trainer.fit_loop.epoch_loop.restarting = False


def validate_now(trainer: L.Trainer) -> None:
    """Run validation between two steps, as Lightning's own loop does."""
    first = trainer._logger_connector._first_loop_iter
    trainer.validating = True
    trainer.fit_loop.epoch_loop.val_loop.run()
    trainer.training = True
    trainer._logger_connector._first_loop_iter = first


def count_past_batches(checkpoint: dict[str, Any], accumulation: int) -> None:
    """Rewrite a checkpoint's batch counters as if all its steps had used this accumulation.

    Lightning steps the optimizer when the accumulation divides the number of micro-batches. It may
    differ from the accumulation that the checkpoint was written with.
    """
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    finished = checkpoint["global_step"] * accumulation
    for counters in (progress["total"], progress["current"]):
        counters.update(dict.fromkeys(counters, finished))


def set_learning_rates(
    scheduler: torch.optim.lr_scheduler.LambdaLR, peaks: Sequence[float]
) -> list[float | torch.Tensor]:
    """Give a restored scheduler new peaks, one for each group, and return the current rates."""
    scheduler.base_lrs = list(peaks)
    rates = [
        peak * factor(scheduler.last_epoch)
        for peak, factor in zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
    ]
    scheduler._last_lr = rates
    return rates
