"""What training modules share: optimizer steps, their seed, their guards, and the clock."""

import functools
import math
import sys
import time
from collections.abc import Callable
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.strategies import FSDPStrategy
from torch import Tensor
from tqdm import tqdm

from webtext_gpt.checkpoint.description import describe
from webtext_gpt.checkpoint.store import saved_checkpoints
from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, GPTClassifier
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.training.guard import GradientNorms, check_choice

MOST_NAMED = 20
"""Documents that a message about a batch names."""


class TrainingModule(L.LightningModule):
    """Trains a model step by step, the same under every strategy, and exactly resumable.

    A subclass gives `validation_step`, and `validation_figures` when it is over. Its data module
    has `samples` and `documents`, as `PretrainingData` has.

    Args:
        model: what is trained.
        tokenizer: saved in checkpoints, so that they can be read alone.
        loss: mean of a micro-batch, from the batch's tensors.
        corpus: hash of the training data, by which a continued run knows it again.
        make_optimizer: the optimizer of a model's parameters.
        schedule: factor of the peak learning rate from the steps taken before and `total_steps`.
        seed: of dropout.
        tokens_per_step: of the global batch, for the logs.
        compile_model: let `torch.compile` make kernels for forward and backward.
        not_finite: `stop` training at a loss or gradient that is not finite, or `skip` its step.
        spike: times the usual gradient norm, from which one is reported.

    Attributes:
        validation_metrics: of the last validation.
        validated_step: optimizer steps taken before it.
        num_parameters: of the model, whatever a strategy makes of them.
        parameter_names: of each group of the optimizer, in its order.
    """

    BATCH = ("tokens_per_step", "global_batch_tokens")
    """Attribute that says how large a global batch is, and the setting it comes from."""

    def __init__(
        self,
        model: GPT | GPTClassifier,
        tokenizer: Tokenizer,
        loss: Callable[..., Tensor],
        *,
        corpus: str,
        make_optimizer: Callable[..., torch.optim.Optimizer],
        schedule: Callable[..., float],
        seed: int,
        tokens_per_step: int,
        compile_model: bool = False,
        not_finite: Literal["stop", "skip"] = "stop",
        spike: float = 10.0,
    ) -> None:
        super().__init__()
        check_choice(not_finite)
        self.model = model
        self.tokenizer = tokenizer
        self.corpus = corpus
        # A function, not a compiled module: names in checkpoints stay as they are.
        self.loss = torch.compile(loss) if compile_model else loss
        self.make_optimizer = make_optimizer
        self.schedule = schedule
        self.seed = seed
        self.tokens_per_step = tokens_per_step
        self.not_finite = not_finite
        self.norms = GradientNorms(spike)
        self.num_parameters = sum(p.numel() for p in model.parameters())
        self.validation_metrics: dict[str, float] = {}
        self.validated_step = -1
        self.parameter_names: list[list[str]] = []
        self._optimizer_settings: list[dict[str, Any]] = []
        self._step_losses: list[Tensor] = []
        self._step = 0  # the one under way, from 1
        self._skipping = False
        self._earlier_seconds = 0.0
        self._began: float | None = None

    @property
    def seconds(self) -> float:
        """Wall-clock time of training so far, earlier parts of the run included."""
        now = 0.0 if self._began is None else time.monotonic() - self._began
        return self._earlier_seconds + now

    def configure_optimizers(self) -> dict[str, Any]:
        """The optimizer with the schedule, stepped together."""
        optimizer = self.make_optimizer(self.model)
        names = {parameter: name for name, parameter in self.named_parameters()}
        self.parameter_names = [[names[p] for p in g["params"]] for g in optimizer.param_groups]
        self._optimizer_settings = [
            {key: value for key, value in group.items() if key != "params"}
            for group in optimizer.param_groups
        ]
        schedule = functools.partial(self.schedule, total_steps=self.trainer.max_steps)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_train_start(self) -> None:
        """Start the clock; where the checkpoint was written before a validation, make it up.

        Lightning would otherwise take up its loops in the middle, and validate or not by the
        number of micro-batches, which may have changed. Ours begin anew at a whole step.
        """
        self._began = time.monotonic()
        self.trainer.fit_loop.epoch_loop.restarting = False
        self._apply_optimizer_settings()
        ended = 0 < self.trainer.max_steps <= self.global_step
        if self.validation_due or (ended and self.validated_step != self.global_step):
            self._validate()

    def _apply_optimizer_settings(self) -> None:
        """Let this call's optimizer and schedule hold, whatever a checkpoint had."""
        (config,) = self.trainer.lr_scheduler_configs
        scheduler = config.scheduler
        scheduler.base_lrs = [settings["lr"] for settings in self._optimizer_settings]
        rates = [
            peak * factor(scheduler.last_epoch)
            for peak, factor in zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
        ]
        scheduler._last_lr = rates
        for group, settings, rate in zip(
            scheduler.optimizer.param_groups, self._optimizer_settings, rates, strict=True
        ):
            group.update(settings, initial_lr=settings["lr"], lr=rate)

    @property
    def validation_due(self) -> bool:
        """Whether this step is one to validate after, and that has not been done."""
        every = self.trainer.val_check_interval // self.trainer.accumulate_grad_batches
        step = self.global_step
        return step > 0 and step % every == 0 and self.validated_step != step

    def _validate(self) -> None:
        """Run validation between two steps, as Lightning's loop does."""
        first = self.trainer._logger_connector._first_loop_iter
        self.trainer.validating = True
        self.trainer.fit_loop.epoch_loop.val_loop.run()
        self.trainer.training = True
        self.trainer._logger_connector._first_loop_iter = first

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Before each optimizer step, seed dropout by the step's number.

        A continued run then draws what an undisturbed one would have drawn.
        """
        if not self._step_losses:
            self._step = self.global_step + 1
            step = self.seed * 2**32 + self.global_step
            torch.manual_seed((step * self.trainer.world_size + self.trainer.global_rank) % 2**63)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Mean loss of one micro-batch, in nats."""
        loss = self.loss(*batch)
        self._step_losses.append(loss.detach())
        # An infinite loss can have finite gradients; its step must not be taken for a good one.
        return loss * torch.where(loss.detach().isfinite(), 1.0, math.nan)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Log the loss of the whole global batch: all micro-batches of all devices.

        Raises:
            UserError: it is not finite, and training is to stop then.
        """
        if len(self._step_losses) < self.trainer.accumulate_grad_batches:
            return  # DeepSpeed asks after every micro-batch
        losses = torch.stack(self._step_losses)
        self._step_losses.clear()
        loss = self.trainer.strategy.reduce(losses.mean(), reduce_op="mean")
        step = self.global_step + 1
        self.log("step", float(step))  # the loggers' x-axis: optimizer steps finished
        self.log("tokens", float(step * self.tokens_per_step))
        self.log("train_loss", loss)
        self.log("lr", optimizer.param_groups[0]["lr"])
        self._skipping = not bool(loss.isfinite())
        if self._skipping:
            self._meet_not_finite(f"the loss is {float(loss)}", losses)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the global norm and look at it; DeepSpeed does both itself, in its step.

        Raises:
            UserError: the norm is not finite, and training is to stop then.
        """
        if self.trainer.strategy.handles_gradient_accumulation:
            return
        limit = gradient_clip_val or math.inf
        if isinstance(self.trainer.strategy, FSDPStrategy):
            norm = self.trainer.strategy.model.clip_grad_norm_(limit)
        else:
            norm = torch.nn.utils.clip_grad_norm_(self.parameters(), limit)
        self._look_at_norm(float(norm))
        if self._skipping:  # an optimizer leaves alone what has no gradient
            optimizer.zero_grad(set_to_none=True)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Look at the norm that DeepSpeed found; it skips a step without a finite one."""
        engine = self.trainer.strategy.model
        if self.trainer.strategy.handles_gradient_accumulation and not self._step_losses:
            norm = engine.get_global_grad_norm()
            self._look_at_norm(math.nan if engine.optimizer.overflow else float(norm))

    def _look_at_norm(self, norm: float) -> None:
        self.log("grad_norm", norm)
        if math.isfinite(norm):
            usual = self.norms.usual if self.norms.is_spike(norm) else None
            if usual is not None:
                self._say(f"the gradient's norm is {norm:.3g}, {norm / usual:.0f} x the usual")
        elif not self._skipping:
            self._skipping = True
            self._meet_not_finite(f"the gradient's norm is {norm}", torch.zeros(0))
        self.log("grad_norm_spikes", float(self.norms.spikes))

    def _meet_not_finite(self, what: str, losses: Tensor) -> None:
        """Stop, or say that the step is skipped; every process comes here at the same step.

        Args:
            what: was found.
            losses: of this process's micro-batches; empty where they say nothing.
        """
        step = self._step
        documents = ", ".join(self._documents(step, losses))
        where = f"{what} in step {step}, whose batch has the training documents {documents}"
        if self.not_finite == "skip":
            self._say(f"{where}; the step is skipped")
            return
        saved = saved_checkpoints(self.trainer.default_root_dir)
        raise UserError(
            f"{where}. Training has stopped before that step; the last good checkpoint is "
            f"{saved[0] if saved else 'none'}. Lower optimizer.lr, lengthen "
            "scheduler.warmup_steps, or continue with guard.not_finite=skip"
        )

    def _documents(self, step: int, losses: Tensor) -> list[str]:
        """Numbers of the documents of the micro-batches without a finite loss, or of all."""
        data = self.trainer.datamodule
        shares = data.samples(step - 1, self.trainer.world_size)  # (micro-batch, process, sample)
        bad = torch.ones(shares.shape[:2], dtype=torch.bool)
        if len(losses):
            bad = self.all_gather(~losses.isfinite()).view(self.trainer.world_size, -1).T.cpu()
        found = sorted({d for s in shares[bad].flatten().tolist() for d in data.documents(s)})
        return [str(d) for d in found[:MOST_NAMED]] + ["..."] * (len(found) > MOST_NAMED)

    def _say(self, message: str) -> None:
        """Put a line above the progress bar, from the first process."""
        if self.trainer.is_global_zero:
            tqdm.write(message, file=sys.stderr)

    def validation_figures(self) -> dict[str, float]:
        """What the validation that is over found, by name; `val_loss` among them."""
        raise NotImplementedError

    def on_validation_epoch_end(self) -> None:
        """Log the figures of the validation, and keep them.

        Raises:
            UserError: the loss is not finite.
        """
        figures = self.validation_figures()
        if not math.isfinite(figures["val_loss"]):
            raise UserError(
                f"the validation loss is {figures['val_loss']} after step {self.global_step}: "
                "training has diverged; lower optimizer.lr, or lengthen scheduler.warmup_steps"
            )
        self.validated_step = self.global_step
        self.validation_metrics = figures
        self.log_dict({"step": float(self.global_step), **figures})

    def on_train_epoch_end(self) -> None:
        """Validate after the last step, where that is not one to validate after."""
        if self.validated_step != self.global_step:
            self._validate()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what makes the file readable alone, the clock, and what was last measured."""
        checkpoint.update(
            self.description(),
            max_steps=self.trainer.max_steps,
            tokens_per_step=self.tokens_per_step,
            seed=self.seed,
            fsdp=isinstance(self.trainer.strategy, FSDPStrategy),
            seconds=self.seconds,
            validated_step=self.validated_step,
            validation_metrics=self.validation_metrics,
            gradient_norms=self.norms.state_dict(),
        )

    def description(self) -> dict[str, Any]:
        """Plain values by which the model is built again, and the training data known again."""
        return {**describe(self.model, self.tokenizer), "corpus": self.corpus}

    def refuse_other_training(self, checkpoint: dict[str, Any]) -> None:
        """Keep a run from going on with another model, tokenizer, corpus, batch or seed.

        Raises:
            UserError: names what differs.
        """
        mine = self.description()
        different = [name for name, value in mine.items() if checkpoint.get(name) != value]
        if different:
            raise UserError(
                f"the run to continue has another {' and another '.join(different)} than this "
                "call; start a new run, or restore what changed"
            )
        for key, name in (self.BATCH, ("seed", "seed")):
            theirs, ours = checkpoint.get(key), getattr(self, key)
            if theirs not in (None, ours):
                raise UserError(
                    f"the run to continue has {name}={theirs}, by which the order of its samples "
                    f"is counted, but this call {ours}; set {name}={theirs}, or start a new run"
                )

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the clock and what is known of the last validation and gradients.

        The micro-batches of the past are counted as if they had been divided as they are now:
        Lightning steps when their number divides by the accumulation, which may have changed.
        """
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        finished = checkpoint["global_step"] * self.trainer.accumulate_grad_batches
        for counts in (progress["total"], progress["current"]):
            counts.update(dict.fromkeys(counts, finished))
        self._earlier_seconds = checkpoint["seconds"]
        if "validated_step" in checkpoint:  # earlier versions did not keep the rest
            self.validated_step = checkpoint["validated_step"]
            self.validation_metrics = checkpoint["validation_metrics"]
            self.norms.load_state_dict(checkpoint["gradient_norms"])
