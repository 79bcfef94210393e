"""Fine-tuning on prompts and completions as a LightningModule: the loss of completions alone."""

from typing import Any

import torch
from torch import Tensor

from webtext_gpt.finetuning.data.datamodule import Batch
from webtext_gpt.finetuning.module import FinetuningModule
from webtext_gpt.finetuning.text_loss import mean_text_loss, text_losses
from webtext_gpt.model import GPT
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.training.summary import perplexity


class CompletionModule(FinetuningModule):
    """Trains a language model to continue prompts; what the prompts say is not learned.

    Args:
        model: the language model.
        tokenizer: the model's.
        options: see `FinetuningModule`.
    """

    model: GPT

    def __init__(self, model: GPT, tokenizer: Tokenizer, **options: Any) -> None:
        def loss(batch: Batch) -> Tensor:
            hidden = model.hidden_states(batch.tokens)
            return mean_text_loss(model.lm_head, hidden, batch.tokens, batch.lengths, batch.starts)

        super().__init__(model, tokenizer, loss, **options)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """See `TrainingModule.training_step`."""
        return super().training_step((batch,), batch_idx)

    def measure(self, batch: Batch) -> Tensor:
        """Nats of each completion and its number of tokens, `(B, 2)`."""
        return completion_nats(self.model, batch)

    def validation_figures(self) -> dict[str, float]:
        """Loss (nats a token of the completions) and perplexity."""
        return {f"val_{name}": value for name, value in loss_figures(self.gathered()[0]).items()}


def completion_nats(model: GPT, batch: Batch) -> Tensor:
    """Nats of each completion and its number of tokens, `(B, 2)`."""
    hidden = model.hidden_states(batch.tokens)
    nats, counts = text_losses(model.lm_head, hidden, batch.tokens, batch.lengths, batch.starts)
    return torch.stack((nats, counts.to(nats.dtype)), dim=1)


def loss_figures(measured: Tensor) -> dict[str, float]:
    """Nats a token and perplexity of completions, from `(n, 2)` of `completion_nats`."""
    nats, tokens = measured.double().sum(dim=0).tolist()
    return {"loss": nats / tokens, "perplexity": perplexity(nats / tokens)}
