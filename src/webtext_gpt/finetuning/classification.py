"""Fine-tuning a classifier as a LightningModule (Radford et al. 2018, section 3.2)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from webtext_gpt.finetuning.data.datamodule import Batch
from webtext_gpt.finetuning.metrics import measure
from webtext_gpt.finetuning.module import FinetuningModule
from webtext_gpt.finetuning.text_loss import mean_text_loss
from webtext_gpt.model import GPTClassifier
from webtext_gpt.tokenizer import Tokenizer


class ClassificationModule(FinetuningModule):
    """Trains a classifier by the cross-entropy of its classes, or the squared error of a number.

    Args:
        model: the classifier.
        tokenizer: the model's.
        lm_weight: of the auxiliary language-model loss that is added; 0 leaves it out.
        positive: class whose F1 is measured; see `Task`.
        options: see `FinetuningModule`.
    """

    model: GPTClassifier

    def __init__(
        self,
        model: GPTClassifier,
        tokenizer: Tokenizer,
        *,
        lm_weight: float,
        positive: str | None = None,
        **options: Any,
    ) -> None:
        def loss(batch: Batch, kept: Tensor | None) -> Tensor:
            hidden = model.hidden_states(batch.tokens)
            states = model.extract_states(hidden, batch.tokens, batch.lengths)
            logits = model.classify(states, kept).float()
            if len(model.config.labels) == 1:
                of_labels = F.mse_loss(logits[:, 0], batch.targets)
            else:
                of_labels = F.cross_entropy(logits, batch.targets)
            if not lm_weight:
                return of_labels
            orders = batch.tokens.size(1) if batch.tokens.dim() == 3 else 1
            of_texts = mean_text_loss(
                model.body.lm_head,
                hidden.flatten(0, -3),
                batch.tokens.flatten(0, -2),
                batch.lengths.repeat_interleave(orders),
                batch.starts.repeat_interleave(orders),
            )
            return of_labels + lm_weight * of_texts

        super().__init__(model, tokenizer, loss, **options)
        self.positive = positive

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """See `TrainingModule.training_step`."""
        return super().training_step((batch, self._head_dropout(batch)), batch_idx)

    def _head_dropout(self, batch: Batch) -> Tensor | None:
        """Factors `(B, n_embd)` of the head's dropout, by the step and the place in its batch.

        The same on any number of devices, which dropout's own draw is not.
        """
        p = self.model.config.dropout
        if p == 0:
            return None
        step, first = divmod(int(batch.samples[0]), self.batch_size)
        generator = torch.Generator().manual_seed((self.seed * 2**32 + step) % 2**63)
        shape = (self.batch_size, self.model.head.in_features)
        kept = (torch.rand(shape, generator=generator) >= p) / (1 - p)
        return kept[first : first + len(batch.samples)].to(batch.tokens.device)

    def measure(self, batch: Batch) -> Tensor:
        """Class logits `(B, n_labels)`."""
        return self.model(batch.tokens, batch.lengths)

    def validation_figures(self) -> dict[str, float]:
        """`val_loss` of the labels alone, and every metric of `evaluation.classification`."""
        labels = self.model.config.labels
        figures = measure(*self.gathered(), labels=labels, positive=self.positive)
        return {f"val_{name}": value for name, value in figures.items()}
