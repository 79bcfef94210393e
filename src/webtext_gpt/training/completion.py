"""Fine-tuning on prompts and completions as a LightningModule: the loss of completions alone."""

from typing import Any

import torch
from torch import Tensor

from webtext_gpt.data.finetuning import Batch
from webtext_gpt.model import GPT
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.training.finetuning import FinetuningModule
from webtext_gpt.training.pretraining import perplexity
from webtext_gpt.training.text_loss import mean_text_loss, text_losses


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
        hidden = self.model.hidden_states(batch.tokens)
        measured = text_losses(
            self.model.lm_head, hidden, batch.tokens, batch.lengths, batch.starts
        )
        return torch.stack([values.float() for values in measured], dim=1)

    def validation_figures(self) -> dict[str, float]:
        """Loss (nats a token of the completions) and perplexity."""
        nats, tokens = self.gathered().sum(dim=0).tolist()
        return {"val_loss": nats / tokens, "val_perplexity": perplexity(nats / tokens)}
