"""Language modelling as a LightningModule: loss, optimizer, and what is measured."""

import functools
import math
import time
from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from webtext_gpt.checkpoint import describe
from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, cross_entropy
from webtext_gpt.tokenizer import Tokenizer


class PretrainingModule(L.LightningModule):
    """Trains a model to predict each next token.

    Args:
        model: the model.
        tokenizer: saved in checkpoints, so that they can be read alone.
        corpus: hash of the training data, by which a continued run knows it again.
        make_optimizer: the optimizer of a model's parameters.
        schedule: factor of the peak learning rate from the steps taken before and `total_steps`.
        seed: of dropout.
        tokens_per_step: of the global batch, for the logs.
        val_tokens_per_byte: tokens to predict in the validation split, for each of its bytes.
        compile_model: let `torch.compile` make kernels for forward and backward.

    Attributes:
        validation_metrics: of the last validation, see `on_validation_epoch_end`.
        validated_step: optimizer steps taken before it.
        started: reading of `time.perf_counter` when training began, earlier parts deducted.
    """

    def __init__(
        self,
        model: GPT,
        tokenizer: Tokenizer,
        *,
        corpus: str,
        make_optimizer: Callable[[nn.Module], torch.optim.Optimizer],
        schedule: Callable[..., float],
        seed: int,
        tokens_per_step: int,
        val_tokens_per_byte: float,
        compile_model: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.corpus = corpus
        self.make_optimizer = make_optimizer
        self.schedule = schedule
        self.seed = seed
        self.tokens_per_step = tokens_per_step
        self.val_tokens_per_byte = val_tokens_per_byte

        def loss(inputs: Tensor, targets: Tensor) -> Tensor:
            return cross_entropy(model(inputs), targets)

        # A function, not a compiled module: names in checkpoints stay as they are.
        self.loss = torch.compile(loss) if compile_model else loss
        self.validation_metrics: dict[str, float] = {}
        self.validated_step = -1
        self.started = time.perf_counter()
        self._step_losses: list[Tensor] = []
        self._val_sums = torch.zeros(2, dtype=torch.float64)  # nats, tokens

    def configure_optimizers(self) -> dict[str, Any]:
        """The optimizer with the schedule, stepped together."""
        optimizer = self.make_optimizer(self.model)
        schedule = functools.partial(self.schedule, total_steps=self.trainer.max_steps)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_train_batch_start(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Before each optimizer step, seed dropout by the step's number.

        A continued run then draws what an undisturbed one would have drawn.
        """
        if not self._step_losses:
            step = self.seed * 2**32 + self.global_step
            torch.manual_seed((step * self.trainer.world_size + self.trainer.global_rank) % 2**63)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Mean loss of one micro-batch, in nats a token."""
        loss = self.loss(*batch)
        self._step_losses.append(loss.detach())
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Log the loss of the whole global batch: all micro-batches of all devices."""
        loss = torch.stack(self._step_losses).mean()
        self._step_losses.clear()
        step = self.global_step + 1
        self.log("step", float(step))  # the loggers' x-axis: optimizer steps finished
        self.log("tokens", float(step * self.tokens_per_step))
        self.log("train_loss", loss, sync_dist=True)
        self.log("lr", optimizer.param_groups[0]["lr"])

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
        checkpoint.update(
            describe(self.model, self.tokenizer),
            corpus=self.corpus,
            max_steps=self.trainer.max_steps,
            seconds=time.perf_counter() - self.started,
        )

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Count the micro-batches of the past as if they had been divided as they are now.

        Lightning steps when their number divides by the accumulation, which may have changed.
        """
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        finished = checkpoint["global_step"] * self.trainer.accumulate_grad_batches
        if progress["total"]["ready"] != finished:
            for counts in (progress["total"], progress["current"]):
                counts.update(dict.fromkeys(counts, finished))

    def refuse_other_training(self, checkpoint: dict[str, Any]) -> None:
        """Keep a run from going on with another model, tokenizer or corpus.

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
