"""Base LightningModule: optimizer steps, per-step dropout seed, validation, guard and resume."""

import functools
import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import lightning as L
import torch
from lightning.pytorch.strategies import FSDPStrategy
from torch import Tensor

from webtext_gpt.checkpoint.load import AnyModel, describe
from webtext_gpt.errors import UserError
from webtext_gpt.model import cross_entropy, language_model
from webtext_gpt.model.transformer import Transformer
from webtext_gpt.terminal import say
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.training import lightning_internals as internals
from webtext_gpt.training.attention_kernel import slow_attention, usable_kernels
from webtext_gpt.training.averaging import forget
from webtext_gpt.training.callbacks.checkpoints import Checkpoints
from webtext_gpt.training.callbacks.time_budget import TimeBudget, random_tokens
from webtext_gpt.training.callbacks.weight_average import inner_optimizer, weight_average
from webtext_gpt.training.compilation import compiled
from webtext_gpt.training.distributed.collectives import mean_over_ranks
from webtext_gpt.training.guard import LESS, Guard, StepBatch, last_checkpoint
from webtext_gpt.training.metrics import PER_TOKEN, LossMeaning
from webtext_gpt.training.same_run import refuse_other_description, refuse_other_order
from webtext_gpt.training.step_checks import StepChecks, give_found_inf, supports_found_inf
from webtext_gpt.training.validation import SHARE


class ModuleOptions(TypedDict):
    """Arguments of `TrainingModule` that pretraining and fine-tuning share."""

    corpus: str | dict[str, str]
    tokens_per_step: int
    make_optimizer: Callable[[AnyModel], torch.optim.Optimizer]
    schedule: Callable[..., float]
    seed: int
    compile_model: bool | str
    guard: Guard


class TrainingModule(L.LightningModule):
    """Trains a model in optimizer steps that are the same under every strategy and when resumed.

    A subclass defines `validation_step` and `validation_figures`. Its data module is a
    `TrainingDataModule` with a method `documents`.

    Args:
        model: the model to train.
        tokenizer: the model's tokenizer, saved in checkpoints to make them self-contained.
        loss: returns the mean loss of a micro-batch, in nats, given the batch's tensors.
        corpus: hash of the training data, by which a resumed run recognizes it; by source, if it
            is a mixture.
        make_optimizer: makes the optimizer from the model.
        schedule: returns the factor of the peak learning rate, given the number of steps already
            taken and `total_steps`.
        seed: seed of dropout.
        tokens_per_step: tokens of the global batch, for the logs.
        compile_model: compile forward and backward passes with `torch.compile`; `auto`: go on
            without if that fails.
        guard: policy for losses and gradients that are not finite.

    Attributes:
        validates_first: whether to validate before the first step, as a run from trained weights.
        validation_metrics: figures of the last validation.
        validated_step: optimizer steps taken before the last validation; -1 if there was none.
        num_parameters: parameters of the model, before a strategy partitions them.
        parameter_names: names of the parameters in each group of the optimizer.
    """

    BATCH = ("tokens_per_step", "global_batch_tokens")
    """Attribute with the size of the global batch, and the setting that gives it."""

    def __init__(
        self,
        model: AnyModel,
        tokenizer: Tokenizer,
        loss: Callable[..., Tensor],
        *,
        corpus: str | dict[str, str],
        make_optimizer: Callable[[AnyModel], torch.optim.Optimizer],
        schedule: Callable[..., float],
        seed: int,
        tokens_per_step: int,
        compile_model: bool | str = False,
        guard: Guard,
    ) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.corpus = corpus
        # Compile the function, not the module, so that parameter names do not change.
        self.loss = compiled(loss, compile_model) if compile_model else loss
        self.make_optimizer = make_optimizer
        self.schedule = schedule
        self.seed = seed
        self.tokens_per_step = tokens_per_step
        self.guard = guard
        self.num_parameters = sum(p.numel() for p in model.parameters())
        self.validates_first = False
        self.validation_metrics: dict[str, float] = {}
        self.validated_step = -1
        self.parameter_names: list[list[str]] = []
        self._optimizer_settings: list[dict[str, Any]] = []
        self.checks = StepChecks(guard, lambda: self._batch_info(self._step))
        self._step_losses: list[Tensor] = []  # losses of the current step's micro-batches
        self._step = 0  # number of the current step, from 1
        self._earlier_seconds = 0.0
        self._began: float | None = None

    @property
    def loss_meaning(self) -> LossMeaning:
        """Unit of the losses, and how the training loss differs; see `LossMeaning`."""
        return PER_TOKEN

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of training so far, including the runs that this one resumes."""
        now = 0.0 if self._began is None else time.monotonic() - self._began
        return self._earlier_seconds + now

    def configure_optimizers(self) -> dict[str, Any]:
        """Return the optimizer and its schedule, which step together."""
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
        """Start the clock, and validate if a resumed run's checkpoint lacks a validation.

        Lightning would otherwise resume its loops in the middle of a step, and would validate by
        the number of micro-batches, which may have changed.
        """
        self._began = time.monotonic()
        self._warn_of_slow_attention()
        internals.start_at_new_step(self.trainer)
        self._apply_optimizer_settings()
        if weight_average(self.trainer) is None:
            forget(inner_optimizer(self.trainer).state)
        ended = 0 < self.trainer.max_steps <= self.global_step
        if self.validation_due or (ended and self.validated_step != self.global_step):
            internals.validate_now(self.trainer)
        elif self.validates_first and self.validated_step < 0:
            internals.validate_now(self.trainer)
            if self.trainer.is_global_zero:
                figures = self.validation_metrics
                say(f"validation  loss {figures['val_loss']:.4f} before the first step")

    def _warn_of_slow_attention(self) -> None:
        if self.device.type != "cuda":
            return
        if isinstance(self.model, Transformer):
            return  # attention to sources of several lengths has a mask under any kernel
        config = language_model(self.model).config
        is_half = str(self.trainer.precision).startswith("bf16")
        dtype = torch.bfloat16 if is_half else torch.float32
        masked = getattr(self, "mask_documents", False)
        usable = usable_kernels(config, self.device, dtype, masked=masked)
        warning = slow_attention(usable, config, dtype, masked=masked)
        if warning is not None and self.trainer.is_global_zero:
            say(warning, sys.stderr)

    def _apply_optimizer_settings(self) -> None:
        """Replace a checkpoint's optimizer settings and learning rates with this call's."""
        (config,) = self.trainer.lr_scheduler_configs
        peaks = [settings["lr"] for settings in self._optimizer_settings]
        rates = internals.set_learning_rates(config.scheduler, peaks)
        for group, settings, rate in zip(
            config.scheduler.optimizer.param_groups, self._optimizer_settings, rates, strict=True
        ):
            group.update(settings, initial_lr=settings["lr"], lr=rate)

    @property
    def validation_due(self) -> bool:
        """Whether a validation is due after the current step and has not run yet."""
        every = self.trainer.val_check_interval // self.trainer.accumulate_grad_batches
        step = self.global_step
        return step > 0 and step % every == 0 and self.validated_step != step

    def on_train_batch_start(self, batch: object, batch_idx: int) -> None:
        """Seed dropout with the step's number at the start of each optimizer step.

        A resumed run thus draws the same masks as an uninterrupted one.
        """
        if not self._step_losses:
            self._step = self.global_step + 1
            step = self.seed * 2**32 + self.global_step
            seed = (step * self.trainer.world_size + self.trainer.global_rank) % 2**63
            # Where dropout is drawn on CPUs, the other devices' generators need no seed.
            on_cpu = self.device.type == "cpu"
            (torch.default_generator.manual_seed if on_cpu else torch.manual_seed)(seed)

    def log(self, name: str, *value: Any, **options: Any) -> None:
        """Log a metric; in training, only at the steps whose metrics are written.

        Lightning would also process it at all others, which takes as long as a small layer.
        """
        if not self.trainer.training or self._step % self.trainer.log_every_n_steps == 0:
            super().log(name, *value, **options)

    def timed_pass(self, probe: Any) -> tuple[Callable[[], None], int]:
        """Return a pass of a copy of the model, forward and backward, and its number of tokens.

        `TimeBudget` times it to plan the number of steps.
        """
        body = language_model(probe)
        tokens = random_tokens(self.trainer, body.config.vocab_size)
        return lambda: cross_entropy(body(tokens), tokens).backward(), tokens.numel()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the mean loss of one micro-batch, in nats."""
        loss = self.loss(*batch)
        self._step_losses.append(loss.detach())
        # An infinite loss can have finite gradients; NaN makes the step's gradients invalid.
        return loss * torch.where(loss.detach().isfinite(), 1.0, math.nan)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Log and check the loss of the global batch, over all micro-batches and processes.

        Raises:
            UserError: the loss, or a figure of the previous step, is not finite, and the guard
                stops training.
        """
        if len(self._step_losses) < self.trainer.accumulate_grad_batches:
            return  # DeepSpeed calls this after every micro-batch
        losses = torch.stack(self._step_losses)
        self._step_losses.clear()
        loss = mean_over_ranks(losses.mean())
        self.checks.finish()
        on_device = self._skips_on_device(optimizer)
        late = on_device and not internals.logs_step(self.trainer)
        step = self.global_step + 1
        self._log("step", step)  # x-axis of the loggers: optimizer steps finished
        self._log("tokens", step * self.tokens_per_step)
        self.log("train_loss", loss)
        self._log("lr", optimizer.param_groups[0]["lr"])
        self.checks.check_loss(loss, losses.isfinite(), on_device=on_device, late=late)

    def _skips_on_device(self, optimizer: torch.optim.Optimizer) -> bool:
        """Whether the GPU itself skips a bad step, so that the CPU need not wait for figures."""
        deepspeed = self.trainer.strategy.handles_gradient_accumulation  # it skips by itself
        return self.device.type == "cuda" and (deepspeed or supports_found_inf(optimizer))

    def _log(self, name: str, value: float) -> None:
        """Log a number as a CPU tensor: Lightning copies a float to the GPU, and waits for it."""
        self.log(name, torch.tensor(float(value)))

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient's global norm and check it; DeepSpeed clips in its own step.

        Raises:
            UserError: the norm is not finite, and the guard stops training.
        """
        if self.trainer.strategy.handles_gradient_accumulation:
            return
        limit = gradient_clip_val or math.inf
        if isinstance(self.trainer.strategy, FSDPStrategy):
            norm = self.trainer.strategy.model.clip_grad_norm_(limit)
        else:
            norm = torch.nn.utils.clip_grad_norm_(self.parameters(), limit)
        skip = self._check_norm(norm)
        give_found_inf(optimizer, skip)
        if skip is None and self.guard.skipping:  # optimizers skip parameters without a gradient
            optimizer.zero_grad(set_to_none=True)

    def on_train_batch_end(self, outputs: object, batch: object, batch_idx: int) -> None:
        """Check the norm that DeepSpeed computed; it skips a step whose norm is not finite."""
        if self.trainer.strategy.handles_gradient_accumulation and not self._step_losses:
            from webtext_gpt.training.distributed.deepspeed_internals import gradient_norm

            self._check_norm(gradient_norm(self.trainer.strategy.model))

    def _check_norm(self, norm: Tensor | float) -> Tensor | None:
        """Log and check the norm; see `StepChecks.check_norm`."""
        if isinstance(norm, Tensor):
            self.log("grad_norm", norm.float())
        else:
            self._log("grad_norm", norm)
        skip = self.checks.check_norm(norm)
        if self.guard.not_finite == "skip":
            self._log("skipped_steps", self.guard.skipped)
        self._log("grad_norm_spikes", self.guard.norms.spikes)
        return skip

    def _batch_info(self, step: int) -> StepBatch:
        return StepBatch(
            step=step,
            run_dir=self.trainer.default_root_dir,
            documents=lambda finite: self._documents(step, finite),
            is_rank_zero=self.trainer.is_global_zero,
            unit=self.trainer.datamodule.UNIT,
            finish_saving=self._finish_saving,
        )

    def _finish_saving(self) -> None:
        """Wait for a checkpoint that is being written; `Checkpoints` reports it if it fails."""
        for callback in self.trainer.callbacks:
            if isinstance(callback, Checkpoints):
                callback.finish_after_error(self.trainer)

    def _documents(self, step: int, finite: Sequence[bool] | None) -> list[int] | list[str]:
        """Return what `StepBatch.documents` describes."""
        data = self.trainer.datamodule
        shares = data.samples(step - 1, self.trainer.world_size)
        # shares: (micro-batch, process, sample)
        if finite is not None:
            mine = ~torch.tensor(finite, device=self.device)
            bad = self.all_gather(mine).view(self.trainer.world_size, -1).T.cpu().numpy()
            shares = shares[bad]
        return sorted({d for s in shares.flatten().tolist() for d in data.documents(s)})

    def on_validation_start(self) -> None:
        """Finish the checks of the last step, so that diverged weights are not validated."""
        self.checks.finish()

    @property
    def _sum_device(self) -> torch.device:
        """Device of sums over a validation: double precision is missing on Apple's GPUs."""
        return torch.device("cpu") if self.device.type == "mps" else self.device

    def validation_figures(self) -> dict[str, float]:
        """Return the figures of the validation that has just run, including `val_loss`."""
        raise NotImplementedError

    def on_validation_epoch_end(self) -> None:
        """Log and store the figures of the validation.

        Raises:
            UserError: the loss is not finite.
        """
        figures = self.validation_figures()
        if not math.isfinite(figures["val_loss"]) and self.global_step == 0:
            raise UserError(
                f"the validation loss is {figures['val_loss']} before the first step: the weights "
                "that the run starts from are damaged, or overflow; start from another checkpoint"
            )
        if not math.isfinite(figures["val_loss"]):
            self._finish_saving()
            raise UserError(
                f"the validation loss is {figures['val_loss']} after step {self.global_step}: "
                f"training has diverged; {last_checkpoint(self.trainer.default_root_dir)}. {LESS}"
            )
        if (average := weight_average(self.trainer)) is not None:
            figures |= average.figures(self.trainer, self)
        self.validated_step = self.global_step
        self.validation_metrics = figures
        self.log_dict({"step": float(self.global_step), **figures})

    def on_train_epoch_end(self) -> None:
        """Validate after the last step, unless a complete validation has just run."""
        is_sample = self.validation_metrics.get(SHARE, 1.0) < 1
        if self.validated_step != self.global_step or is_sample:
            internals.validate_now(self.trainer)

    def on_train_end(self) -> None:
        """Check, once everything is saved, that not every step was skipped.

        Raises:
            UserError: the guard has skipped every step.
        """
        self.checks.finish()
        self.guard.check_end(self.global_step)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the model's description, the clock, and the last validation and gradient norms.

        Raises:
            UserError: a figure of the last step is not finite, and the guard stops training.
        """
        self.checks.finish()
        checkpoint.update(
            self.description(),
            max_steps=self.trainer.max_steps,
            planned_minutes=self._planned_minutes,
            tokens_per_step=self.tokens_per_step,
            seed=self.seed,
            fsdp=isinstance(self.trainer.strategy, FSDPStrategy),
            seconds=self.seconds,
            validated_step=self.validated_step,
            validation_metrics=self.validation_metrics,
            gradient_norms=self.guard.norms.state_dict(),
            guard=self.guard.state_dict(),
        )

    @property
    def _planned_minutes(self) -> float | None:
        """Minutes from which the number of steps was estimated; `None` if it was set."""
        budgets = (c for c in self.trainer.callbacks if isinstance(c, TimeBudget))
        return next((budget.minutes for budget in budgets if budget.is_estimate), None)

    def description(self) -> dict[str, Any]:
        """Return plain values from which the model is rebuilt and the corpus recognized."""
        return {**describe(self.model, self.tokenizer), "corpus": self.corpus}

    def refuse_other_training(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to resume a run with another model, tokenizer, corpus, batch or seed.

        Raises:
            UserError: names what differs.
        """
        refuse_other_description(checkpoint, self.description())
        for key, name in (self.BATCH, ("seed", "seed")):
            refuse_other_order(name, checkpoint.get(key), getattr(self, key))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the clock, the last validation and the gradient norms."""
        internals.count_past_batches(checkpoint, self.trainer.accumulate_grad_batches)
        self._earlier_seconds = checkpoint["seconds"]
        if "validated_step" in checkpoint:  # earlier versions did not save these
            self.validated_step = checkpoint["validated_step"]
            self.validation_metrics = checkpoint["validation_metrics"]
            self.guard.norms.load_state_dict(checkpoint["gradient_norms"])
        if "guard" in checkpoint:
            self.guard.load_state_dict(checkpoint["guard"])
