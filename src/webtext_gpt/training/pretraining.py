"""Language modelling as a LightningModule: its loss, and what is measured."""

import math
from typing import Any

import torch
from torch import Tensor

from webtext_gpt.model import GPT, cross_entropy
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.training.module import TrainingModule


class PretrainingModule(TrainingModule):
    """Trains a model to predict each next token.

    Args:
        model: the model.
        tokenizer: the corpus's.
        val_tokens_per_byte: tokens to predict in the validation split, for each of its bytes.
        options: see `TrainingModule`.
    """

    model: GPT

    def __init__(
        self,
        model: GPT,
        tokenizer: Tokenizer,
        *,
        val_tokens_per_byte: float,
        **options: Any,
    ) -> None:
        def loss(inputs: Tensor, targets: Tensor) -> Tensor:
            return cross_entropy(model(inputs), targets)

        super().__init__(model, tokenizer, loss, **options)
        self.val_tokens_per_byte = val_tokens_per_byte
        self._val_sums = torch.zeros(2, dtype=torch.float64)  # nats, tokens

    def on_validation_epoch_start(self) -> None:
        """Forget earlier sums."""
        self._val_sums = torch.zeros(2, dtype=torch.float64, device=self._sum_device)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Add up the loss of every target of the windows."""
        inputs, targets = batch
        nats = cross_entropy(self.model(inputs), targets, reduction="sum")
        counted = (targets >= 0).sum()
        self._val_sums += torch.stack((nats.double(), counted.double())).to(self._sum_device)

    def validation_figures(self) -> dict[str, float]:
        """Loss (nats a token), perplexity, and bits a byte of the validation text."""
        nats, tokens = self.trainer.strategy.reduce(self._val_sums, reduce_op="sum").tolist()
        loss = nats / tokens
        return {
            "val_loss": loss,
            "val_perplexity": perplexity(loss),
            "val_bits_per_byte": loss / math.log(2) * self.val_tokens_per_byte,
        }

    @property
    def _sum_device(self) -> torch.device:
        """Where sums are kept in double precision, which Apple's GPUs lack."""
        return torch.device("cpu") if self.device.type == "mps" else self.device


def perplexity(loss: float) -> float:
    """The exponential of a loss in nats, finite whatever the loss."""
    return math.exp(min(loss, 700))
