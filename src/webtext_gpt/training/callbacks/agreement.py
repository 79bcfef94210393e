"""Check that all processes resume from the same step."""

import lightning as L
import torch

from webtext_gpt.errors import UserError


class Agreement(L.Callback):
    """Compares the step that each process resumes from, before any checkpoint is loaded.

    Each machine looks for the newest checkpoint by itself, and may see another state of a shared
    file system.

    Args:
        step: the step that this process resumes from.
    """

    def __init__(self, step: int) -> None:
        self.step = step

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Compare the steps once the process group exists.

        Raises:
            UserError: two processes found different checkpoints; raised on every process.
        """
        if trainer.world_size == 1:
            return
        step = torch.tensor(float(self.step), device=trainer.strategy.root_device)
        least, most = step.clone(), step
        torch.distributed.all_reduce(least, torch.distributed.ReduceOp.MIN)
        torch.distributed.all_reduce(most, torch.distributed.ReduceOp.MAX)
        if least != most:
            raise UserError(
                f"processes found different checkpoints to resume, of steps {int(least)} and "
                f"{int(most)}; all machines need the same run_dir on a shared file system. "
                "Start again once all of them see the same files"
            )
