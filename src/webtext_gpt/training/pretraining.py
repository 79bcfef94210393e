"""Language modelling as a LightningModule: its loss, and what is measured."""

import math
from typing import Any

import torch
from torch import Tensor

from webtext_gpt.checkpoint import describe
from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, cross_entropy
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.training.module import TrainingModule


class PretrainingModule(TrainingModule):
    """Trains a model to predict each next token.

    Args:
        model: the model.
        tokenizer: saved in checkpoints, so that they can be read alone.
        corpus: hash of the training data, by which a continued run knows it again.
        val_tokens_per_byte: tokens to predict in the validation split, for each of its bytes.
        options: see `TrainingModule`.
    """

    model: GPT

    def __init__(
        self,
        model: GPT,
        tokenizer: Tokenizer,
        *,
        corpus: str,
        val_tokens_per_byte: float,
        **options: Any,
    ) -> None:
        def loss(inputs: Tensor, targets: Tensor) -> Tensor:
            return cross_entropy(model(inputs), targets)

        super().__init__(model, loss, **options)
        self.tokenizer = tokenizer
        self.corpus = corpus
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

    def on_validation_epoch_end(self) -> None:
        """Log loss (nats a token), perplexity, and bits a byte of the validation text."""
        nats, tokens = self.trainer.strategy.reduce(self._val_sums, reduce_op="sum").tolist()
        loss = nats / tokens
        if not math.isfinite(loss):
            raise UserError(
                f"the validation loss is {loss} after step {self.global_step}: training has "
                "diverged; lower optimizer.lr, or lengthen scheduler.warmup_steps"
            )
        self.validated_step = self.global_step
        self.validation_metrics = {
            "val_loss": loss,
            "val_perplexity": math.exp(min(loss, 700)),
            "val_bits_per_byte": loss / math.log(2) * self.val_tokens_per_byte,
        }
        self.log_dict({"step": float(self.global_step), **self.validation_metrics})

    @property
    def _sum_device(self) -> torch.device:
        """Where sums are kept in double precision, which Apple's GPUs lack."""
        return torch.device("cpu") if self.device.type == "mps" else self.device

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Make the file readable alone: configuration and tokenizer go with the weights."""
        super().on_save_checkpoint(checkpoint)
        checkpoint.update(describe(self.model, self.tokenizer), corpus=self.corpus)

    def refuse_other_training(self, checkpoint: dict[str, Any]) -> None:
        """Keep a run from going on with another model, tokenizer, corpus, batch or seed.

        Raises:
            UserError: names what differs.
        """
        mine = {**describe(self.model, self.tokenizer), "corpus": self.corpus}
        different = [name for name, value in mine.items() if checkpoint.get(name) != value]
        if different:
            raise UserError(
                f"the run to continue has another {' and another '.join(different)} than this "
                "call; start a new run, or restore what changed"
            )
        for key, name in (("tokens_per_step", "global_batch_tokens"), ("seed", "seed")):
            theirs, ours = checkpoint.get(key), getattr(self, key)
            if theirs not in (None, ours):
                raise UserError(
                    f"the run to continue has {name}={theirs}, by which the order of its samples "
                    f"is counted, but this call {ours}; set {name}={theirs}, or start a new run"
                )
