"""Parts shared by all kinds of fine-tuning: LightningModule, `Objective`, and per-text losses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.data.examples import Examples
from webtext_gpt.finetuning.data.sequences import EncodedExamples, ExampleBatch
from webtext_gpt.finetuning.model import LoraSettings
from webtext_gpt.model import GPT, GPTClassifier
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.training.module import ModuleOptions, TrainingModule


class FinetuningOptions(ModuleOptions):
    """Arguments of `FinetuningModule` that do not depend on the kind of task."""

    batch_size: int
    truth: Tensor
    task: dict[str, Any]
    recipe: dict[str, Any]
    lora: LoraSettings | None
    new_tokens: list[int] | None


class FinetuningModule(TrainingModule):
    """Base module of fine-tuning: batches of examples, and validation of each row exactly once.

    A subclass implements `measure`, and computes `validation_figures` from the result of
    `gathered`.

    Args:
        model: the model to train.
        tokenizer: the model's.
        loss: returns the mean loss of a micro-batch, given the arguments from `training_step`.
        batch_size: examples per optimizer step, over all devices.
        truth: `(n,)` targets of the validation rows.
        task: plain values of the task, saved in checkpoints.
        recipe: settings that define the model and loss; a resumed run must not change them.
        lora: arguments of `add_lora`, if it changed the model; else `None`.
        new_tokens: argument of `add_new_rows`, if it changed the model; else `None`.
        options: see `TrainingModule`.
    """

    BATCH = ("batch_size", "batch_size")

    def __init__(
        self,
        model: GPT | GPTClassifier,
        tokenizer: Tokenizer,
        loss: Callable[..., Tensor],
        *,
        batch_size: int,
        truth: Tensor,
        task: dict[str, Any],
        recipe: dict[str, Any],
        lora: LoraSettings | None,
        new_tokens: list[int] | None,
        **options: Unpack[ModuleOptions],
    ) -> None:
        super().__init__(model, tokenizer, loss, **options)
        self.batch_size = batch_size
        self.truth = truth
        self.task = task
        self.recipe = recipe
        self.lora = lora
        self.new_tokens = new_tokens
        self.num_trained = sum(p.numel() for p in self.parameters() if p.requires_grad)
        self._rows: list[Tensor] = []
        self._values: list[Tensor] = []

    def measure(self, batch: ExampleBatch) -> Tensor:
        """Return the values `(B, k)` of validation examples that the figures are computed from."""
        raise NotImplementedError

    def on_validation_epoch_start(self) -> None:
        """Clear the values of the previous validation."""
        self._rows, self._values = [], []

    def validation_step(self, batch: ExampleBatch, batch_idx: int) -> None:
        """Store the values of each row."""
        self._rows.append(batch.samples)
        self._values.append(self.measure(batch).float())

    def gathered(self) -> tuple[Tensor, Tensor]:
        """Gather values `(n, k)` and targets `(n,)` of the measured rows from all ranks.

        Values are fp64 on the CPU. If rows do not divide evenly, two ranks may measure the same
        row, which counts once. `trainer.limit_val_batches` can leave rows out.
        """
        rows = self.all_gather(torch.cat(self._rows)).flatten().cpu()
        values = self.all_gather(torch.cat(self._values)).flatten(0, -2).double().cpu()
        every = torch.zeros(len(self.truth), values.size(1), dtype=torch.float64)
        every[rows] = values
        measured = rows.unique()
        return every[measured], self.truth[measured]

    def description(self) -> dict[str, Any]:
        """See `TrainingModule.description`."""
        return {**super().description(), "lora": self.lora, "new_tokens": self.new_tokens}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the batch size, the task and the recipe."""
        super().on_save_checkpoint(checkpoint)
        checkpoint.update(batch_size=self.batch_size, task=self.task, recipe=self.recipe)

    def refuse_other_training(self, checkpoint: dict[str, Any]) -> None:
        """See `TrainingModule.refuse_other_training`; the recipe must be the same too."""
        theirs = checkpoint.get("recipe", {})
        for name, ours in self.recipe.items():
            if theirs.get(name) != ours:
                raise UserError(
                    f"the run to resume has {name}={theirs.get(name)}, but this call has {ours}; "
                    f"set {name}={theirs.get(name)}, or start a new run"
                )
        super().refuse_other_training(checkpoint)


class Objective(Protocol):
    """One kind of task: its model, encoding, loss and report. `run` does the rest for all kinds.

    Attributes:
        labels: class names; a single one for a regression, none for completions.
    """

    labels: tuple[str, ...]

    def build_model(self, body: GPT, tokenizer: Tokenizer) -> tuple[GPT | GPTClassifier, Tokenizer]:
        """Make the model to train from a language model, which may be changed in place."""
        ...

    def encode(self, model: Any, tokenizer: Tokenizer, examples: Examples) -> EncodedExamples:
        """Encode examples as the model reads them."""
        ...

    def build_module(
        self, model: Any, tokenizer: Tokenizer, **options: Unpack[FinetuningOptions]
    ) -> FinetuningModule:
        """Wrap the model for training; for the options see `FinetuningModule`."""
        ...

    def evaluate(
        self, model: Any, tokenizer: Tokenizer, examples: Examples, out: Path
    ) -> dict[str, float]:
        """Measure a trained model on examples; write a report into `out` and return the figures."""
        ...


def text_losses(
    lm_head: nn.Module, hidden: Tensor, tokens: Tensor, lengths: Tensor, starts: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the summed loss `(B,)` of each text in nats, and the number of its targets `(B,)`.

    Position t predicts token t + 1. Logits are computed only at positions with a target.

    Args:
        lm_head: maps states to logits `(..., vocab_size)`.
        hidden: `(B, T, n_embd)` final hidden states.
        tokens: `(B, T)` ids, padded on the right.
        lengths: `(B,)` tokens of each text without padding.
        starts: `(B,)` position of each text's first target, at least 1.
    """
    position = torch.arange(1, tokens.size(1), device=tokens.device)
    is_target = (position >= starts[:, None]) & (position < lengths[:, None])  # (B, T - 1)
    logits = lm_head(hidden[:, :-1][is_target]).float()  # (targets, vocab_size)
    nats = F.cross_entropy(logits, tokens[:, 1:][is_target], reduction="none")
    each = nats.new_zeros(is_target.shape).masked_scatter(is_target, nats)
    return each.sum(dim=1), is_target.sum(dim=1)


def mean_text_loss(
    lm_head: nn.Module, hidden: Tensor, tokens: Tensor, lengths: Tensor, starts: Tensor
) -> Tensor:
    """Return the mean over texts of each text's loss in nats per token, as in GPT-1's fine-tuning.

    Every text has the same weight, so the mean over micro-batches of equal size is the mean over
    the global batch. For the arguments see `text_losses`.
    """
    nats, counts = text_losses(lm_head, hidden, tokens, lengths, starts)
    return (nats / counts.clamp(min=1)).mean()
