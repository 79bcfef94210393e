"""What fine-tuning of every kind shares: the batch in examples, and validation row by row."""

from typing import Any

import torch
from torch import Tensor

from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.data.datamodule import Batch
from webtext_gpt.training.module import TrainingModule


class FinetuningModule(TrainingModule):
    """Trains on examples, and measures every validation row once, on any number of processes.

    A subclass gives `measure`, and `validation_figures` from `gathered`.

    Args:
        arguments: see `TrainingModule`.
        batch_size: examples of one optimizer step over all devices.
        task: plain values of the task, for whoever reads the checkpoint.
        recipe: settings by which the model was made and its loss is; a continued run keeps them.
        lora: arguments of `add_lora` that the model was changed by; `None` for an unchanged one.
        options: see `TrainingModule`.

    Attributes:
        truth: `(n,)` what the validation rows should give.
    """

    BATCH = ("batch_size", "batch_size")

    def __init__(
        self,
        *arguments: Any,
        batch_size: int,
        truth: Tensor,
        task: dict[str, Any],
        recipe: dict[str, Any],
        lora: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self.batch_size = batch_size
        self.truth = truth
        self.task = task
        self.recipe = recipe
        self.lora = lora
        self.num_trained = sum(p.numel() for p in self.parameters() if p.requires_grad)
        self._rows: list[Tensor] = []
        self._values: list[Tensor] = []

    def measure(self, batch: Batch) -> Tensor:
        """Values `(B, k)` of validation examples."""
        raise NotImplementedError

    def on_validation_epoch_start(self) -> None:
        """Forget earlier values."""
        self._rows, self._values = [], []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep the values of each row."""
        self._rows.append(batch.samples)
        self._values.append(self.measure(batch).float())

    def gathered(self) -> tuple[Tensor, Tensor]:
        """Values `(n, k)` of the measured rows, and their truth `(n,)`, on every process.

        In double precision on the CPU. A row that was measured twice, since rows did not divide
        by processes, counts once; `trainer.limit_val_batches` leaves rows out.
        """
        rows = self.all_gather(torch.cat(self._rows)).flatten().cpu()
        values = self.all_gather(torch.cat(self._values)).flatten(0, -2).double().cpu()
        every = torch.zeros(len(self.truth), values.size(1), dtype=torch.float64)
        every[rows] = values
        measured = rows.unique()
        return every[measured], self.truth[measured]

    def description(self) -> dict[str, Any]:
        """See `TrainingModule.description`."""
        return {**super().description(), "lora": self.lora}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the size of the batch, the task and the recipe."""
        super().on_save_checkpoint(checkpoint)
        checkpoint.update(batch_size=self.batch_size, task=self.task, recipe=self.recipe)

    def refuse_other_training(self, checkpoint: dict[str, Any]) -> None:
        """See `TrainingModule.refuse_other_training`; the recipe must be the same too."""
        theirs = checkpoint.get("recipe", {})
        for name, ours in self.recipe.items():
            if theirs.get(name) != ours:
                raise UserError(
                    f"the run to continue has {name}={theirs.get(name)}, but this call {ours}; "
                    f"leave {name} as it was, or start a new run"
                )
        super().refuse_other_training(checkpoint)
