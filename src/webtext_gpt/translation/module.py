"""Training of an encoder-decoder on pairs: label-smoothed loss, validation without smoothing."""

from collections.abc import Callable
from typing import Any, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor

from webtext_gpt.model import IGNORED, perplexity
from webtext_gpt.model.transformer import Transformer
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.training.metrics import LossMeaning
from webtext_gpt.training.module import ModuleOptions, TrainingModule
from webtext_gpt.translation.encoding import PairBatch


def summed_loss(model: Transformer, batch: PairBatch, label_smoothing: float = 0.0) -> Tensor:
    """Return the summed loss of a batch's targets, in nats.

    With label smoothing e, the target distribution gives the token 1 - e and spreads e evenly over
    the vocabulary (Szegedy et al. 2016, section 7; Vaswani et al. 2017, section 5.4). Logits are
    computed only where there is a target.
    """
    hidden = model.hidden_states(batch.inputs, model.encode(batch.source, batch.lengths))
    is_target = batch.targets != IGNORED  # (B, T)
    logits = model.lm_head(hidden[is_target]).float()  # (targets, vocab_size)
    return F.cross_entropy(
        logits, batch.targets[is_target], reduction="sum", label_smoothing=label_smoothing
    )


class TranslationModule(TrainingModule):
    """Trains an encoder-decoder to predict each target's next token.

    Args:
        model: the model to train.
        tokenizer: the model's, see `webtext_gpt.pair_tokenizer`.
        global_batch_tokens: see `TokenBatches`; a resumed run must not change it.
        label_smoothing: see `summed_loss`; a resumed run may change it.
        options: see `TrainingModule`.
    """

    model: Transformer
    BATCH = ("global_batch_tokens", "global_batch_tokens")

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        *,
        global_batch_tokens: int,
        label_smoothing: float,
        **options: Unpack[ModuleOptions],
    ) -> None:
        def loss(*batch: Tensor) -> Tensor:
            pairs = PairBatch(*batch)
            return summed_loss(model, pairs, label_smoothing) * pairs.weight

        super().__init__(model, tokenizer, loss, **options)
        self.global_batch_tokens = global_batch_tokens
        self.label_smoothing = label_smoothing
        self._sums = torch.zeros(2, dtype=torch.float64)  # nats, targets

    @property
    def loss_meaning(self) -> LossMeaning:
        """See `TrainingModule.loss_meaning`."""
        smoothed = f"the loss with label smoothing of {self.label_smoothing:g}"
        return LossMeaning(training=smoothed if self.label_smoothing else None)

    def timed_pass(self, probe: Transformer) -> tuple[Callable[[], None], int]:
        """See `TrainingModule.timed_pass`: of a training batch of median length, by its targets."""
        data = self.trainer.datamodule
        parts = data.parts(self.trainer.world_size)
        middle = data.batches.typical * parts.parts
        batch = PairBatch(*(tensor.to(probe.wte.weight.device) for tensor in parts[middle]))

        def one_pass() -> None:
            (summed_loss(probe, batch) * batch.weight).backward()

        return one_pass, int((batch.targets != IGNORED).sum())

    def on_validation_epoch_start(self) -> None:
        """Reset the sums."""
        self._sums = torch.zeros_like(self._sums, device=self._sum_device)

    def validation_step(self, batch: PairBatch, batch_idx: int) -> None:
        """Add up the loss of every target of a batch, without label smoothing."""
        nats = summed_loss(self.model, batch)
        n_targets = (batch.targets != IGNORED).sum()
        self._sums += torch.stack((nats.double(), n_targets.double())).to(self._sum_device)

    def validation_figures(self) -> dict[str, float]:
        """Return the loss, in nats per target token, and its perplexity."""
        nats, targets = self.trainer.strategy.reduce(self._sums, reduce_op="sum").tolist()
        return {"val_loss": nats / targets, "val_perplexity": perplexity(nats / targets)}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the size of the global batch."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["global_batch_tokens"] = self.global_batch_tokens
