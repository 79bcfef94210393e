"""Classification and regression: a head on the language model (Radford et al. 2018, 3.2)."""

import math
from pathlib import Path
from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor

from webtext_gpt.finetuning.data.examples import Examples
from webtext_gpt.finetuning.data.labels import balanced_weights, encode_labels
from webtext_gpt.finetuning.data.sequences import EncodedExamples, ExampleBatch, encode_texts
from webtext_gpt.finetuning.data.splits import label_names
from webtext_gpt.finetuning.data.task import Task
from webtext_gpt.finetuning.metrics import measure
from webtext_gpt.finetuning.model import add_head
from webtext_gpt.finetuning.module import FinetuningModule, FinetuningOptions, mean_text_loss
from webtext_gpt.finetuning.predict import TextClassifier
from webtext_gpt.finetuning.report import report_examples
from webtext_gpt.model import GPT, GPTClassifier
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.training.metrics import LossMeaning


class ClassificationModule(FinetuningModule):
    """Trains a classifier with cross-entropy, or with squared error if it has a single output.

    Args:
        model: the classifier.
        tokenizer: the model's.
        lm_weight: weight of the auxiliary language-model loss (L3 of the paper); 0 leaves it out.
        positive: the class of `f1_positive`; see `Task`.
        class_weights: see `label_loss`.
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
        class_weights: Tensor | None = None,
        **options: Unpack[FinetuningOptions],
    ) -> None:
        def loss(batch: ExampleBatch, kept: Tensor | None) -> Tensor:
            hidden = model.hidden_states(batch.tokens)
            states = model.extract_states(hidden, batch.tokens, batch.lengths)
            logits = model.classify(states, kept).float()
            loss_of_labels = label_loss(logits, batch.targets, class_weights)
            if not lm_weight:
                return loss_of_labels
            orders = batch.tokens.size(1) if batch.tokens.dim() == 3 else 1
            lm_loss = mean_text_loss(
                model.body.lm_head,
                hidden.flatten(0, -3),
                batch.tokens.flatten(0, -2),
                batch.lengths.repeat_interleave(orders),
                batch.starts.repeat_interleave(orders),
            )
            return loss_of_labels + lm_weight * lm_loss

        super().__init__(model, tokenizer, loss, **options)
        self.positive = positive
        self.lm_weight = lm_weight
        self.is_weighted = class_weights is not None

    @property
    def loss_meaning(self) -> LossMeaning:
        """See `TrainingModule.loss_meaning`: the loss is that of labels, or squared errors."""
        is_regression = len(self.model.config.labels) == 1
        own = "the squared error" if is_regression else "the label loss"
        if self.is_weighted:
            own += " with class weights"
        if self.lm_weight:
            own += f" + {self.lm_weight:g} x the language-model loss"
        unit = "mean squared error" if is_regression else "nats per row"
        return LossMeaning(unit, own if self.is_weighted or self.lm_weight else None)

    def training_step(self, batch: ExampleBatch, batch_idx: int) -> Tensor:
        """See `TrainingModule.training_step`."""
        return super().training_step((batch, self._head_dropout(batch)), batch_idx)

    def _head_dropout(self, batch: ExampleBatch) -> Tensor | None:
        """Draw the dropout factors `(B, n_embd)` of the head's input.

        They depend only on the seed, the step and the example's position in the global batch, so
        they are the same for any number of devices, unlike those of `nn.Dropout`.
        """
        p = self.model.config.dropout
        if p == 0:
            return None
        step, first = divmod(int(batch.samples[0]), self.batch_size)
        generator = torch.Generator().manual_seed((self.seed * 2**32 + step) % 2**63)
        shape = (self.batch_size, self.model.head.in_features)
        kept = (torch.rand(shape, generator=generator) >= p) / (1 - p)
        return kept[first : first + len(batch.samples)].to(batch.tokens.device)

    def measure(self, batch: ExampleBatch) -> Tensor:
        """Return class logits `(B, n_labels)`."""
        return self.model(batch.tokens, batch.lengths)

    def validation_figures(self) -> dict[str, float]:
        """Return `val_loss`, which excludes the auxiliary loss, and all metrics of the kind."""
        labels = self.model.config.labels
        outputs, truth = self.gathered()
        if not outputs.isfinite().all():
            return {"val_loss": math.nan}
        figures = measure(outputs, truth, labels=labels, positive=self.positive)
        return {f"val_{name}": value for name, value in figures.items()}


def label_loss(logits: Tensor, targets: Tensor, class_weights: Tensor | None) -> Tensor:
    """Return the mean cross-entropy in nats, or the mean squared error of a single output.

    Args:
        logits: `(B, n_labels)`.
        targets: `(B,)` class numbers, or regression targets.
        class_weights: `(n_labels,)` factors of the rows' cross-entropies; `None` means 1. The mean
            is over rows, not over weights, so that it does not depend on how a batch is split.
    """
    if logits.size(1) == 1:
        return F.mse_loss(logits[:, 0], targets)
    if class_weights is None:
        return F.cross_entropy(logits, targets)
    nats = F.cross_entropy(logits, targets, reduction="none")
    return (nats * class_weights.to(nats)[targets]).mean()


class Classification:
    """`Objective` of classification and regression, on texts or pairs of texts.

    Args:
        task: names the columns and the positive class.
        train: training examples, which determine the classes.
        dropout: dropout on the head's input.
        lm_weight: weight of the auxiliary language-model loss.

    Raises:
        UserError: see `label_names`.
    """

    def __init__(self, task: Task, train: Examples, *, dropout: float, lm_weight: float) -> None:
        self.task = task
        self.labels = label_names(train, task)
        self.class_weights: Tensor | None = None
        if task.class_weights is not None:
            targets = encode_labels(train.labels, self.labels)
            self.class_weights = torch.from_numpy(balanced_weights(targets, len(self.labels)))
        self.dropout = dropout
        self.lm_weight = lm_weight

    def build_model(self, body: GPT, tokenizer: Tokenizer) -> tuple[GPTClassifier, Tokenizer]:
        """Add a head; see `Objective`."""
        return add_head(
            body,
            tokenizer,
            self.labels,
            pairs=self.task.text_pair is not None,
            both_orders=self.task.symmetric,
            dropout=self.dropout,
        )

    def encode(
        self, model: GPTClassifier, tokenizer: Tokenizer, examples: Examples
    ) -> EncodedExamples:
        """See `Objective`."""
        block_size = model.body.config.block_size
        sequences = encode_texts(
            tokenizer, model.config, block_size, examples.texts, examples.seconds
        )
        targets = encode_labels(examples.labels, self.labels)
        return EncodedExamples(sequences, targets, examples.places)

    def build_module(
        self, model: GPTClassifier, tokenizer: Tokenizer, **options: Unpack[FinetuningOptions]
    ) -> ClassificationModule:
        """See `Objective`. The auxiliary loss is left out if the language model is frozen."""
        is_trained = any(p.requires_grad for p in model.body.blocks.parameters())
        return ClassificationModule(
            model,
            tokenizer,
            lm_weight=self.lm_weight if is_trained else 0.0,
            positive=self.task.positive,
            class_weights=self.class_weights,
            **options,
        )

    def evaluate(
        self, model: GPTClassifier, tokenizer: Tokenizer, examples: Examples, out: Path
    ) -> dict[str, float]:
        """See `Objective`."""
        classifier = TextClassifier(model, tokenizer)
        return report_examples(
            classifier,
            examples,
            out,
            positive=self.task.positive,
            class_names=self.task.class_names,
        )
