"""All processes go on from the same step, or none."""

import lightning as L
import torch

from webtext_gpt.errors import UserError


class Agreement(L.Callback):
    """Compares the step that each process has found to go on from, before any of it is loaded.

    Processes of several machines look for the newest checkpoint by themselves, and may see
    another state of the file system.

    Args:
        step: that this process goes on from.
    """

    def __init__(self, step: int) -> None:
        self.step = step

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Compare, once the processes can talk.

        Raises:
            UserError: two have found different checkpoints; on every process.
        """
        if trainer.world_size == 1:
            return
        step = torch.tensor(float(self.step), device=trainer.strategy.root_device)
        least, most = step.clone(), step
        torch.distributed.all_reduce(least, torch.distributed.ReduceOp.MIN)
        torch.distributed.all_reduce(most, torch.distributed.ReduceOp.MAX)
        if least != most:
            raise UserError(
                f"processes found different checkpoints to go on from, of steps {int(least)} and "
                f"{int(most)}; all machines need the same run_dir on a file system that they "
                "share. Start again, once it shows them the same files"
            )
