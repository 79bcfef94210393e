"""The Lightning trainer, set up from plain settings."""

import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import Logger

from webtext_gpt.checkpoint import AtomicCheckpointIO
from webtext_gpt.errors import UserError
from webtext_gpt.training.batch import BatchPlan
from webtext_gpt.training.callbacks.time_budget import TimeBudget
from webtext_gpt.training.hardware import best_precision

DEFAULT_MINUTES = 5
"""Of training where nothing says how long."""
OPEN = -1
"""Lightning's `max_steps` for no limit."""


def build_trainer(
    settings: Mapping[str, Any],
    *,
    run_dir: Path,
    strategy: Any,
    callbacks: Sequence[L.Callback],
    loggers: Sequence[Logger],
) -> L.Trainer:
    """A trainer that counts optimizer steps, on the given devices.

    Args:
        settings: Lightning's own arguments, and `max_minutes`, after which training ends;
            `precision: auto` takes bf16 where the hardware has it. `max_tokens` is left to
            `set_lengths`. Where neither steps nor tokens are given, as many steps are planned
            as fit into the time (`DEFAULT_MINUTES` unless given).
        run_dir: the run's folder.
        strategy: a Lightning strategy or its name.
        callbacks: what happens beside training.
        loggers: where metrics go.

    Raises:
        UserError: Lightning refuses a setting, as more devices than there are.
    """
    arguments = {str(name): value for name, value in settings.items()}
    max_tokens, minutes = arguments.pop("max_tokens"), arguments.pop("max_minutes")
    if arguments["precision"] == "auto":
        arguments["precision"] = best_precision(_device_type(arguments["accelerator"]))
    if arguments["max_steps"] is None:
        arguments["max_steps"] = OPEN
        if max_tokens is None:
            minutes = DEFAULT_MINUTES if minutes is None else minutes
    if minutes is not None:
        callbacks = [TimeBudget(minutes), *callbacks]
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # its greetings, its tips
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # its own use of torch
    try:
        return L.Trainer(
            **arguments,
            strategy=strategy,
            callbacks=list(callbacks),
            logger=list(loggers),
            default_root_dir=run_dir,
            plugins=[AtomicCheckpointIO()],
            use_distributed_sampler=False,  # our samplers know the devices
            check_val_every_n_epoch=None,  # there is one epoch, without end
            num_sanity_val_steps=0,
            enable_checkpointing=False,  # done by our callback, as is the progress bar
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"trainer: {error}") from error


def set_lengths(
    trainer: L.Trainer,
    plan: BatchPlan,
    *,
    max_tokens: int | None,
    validate_every: int,
    planned_steps: int | None = None,
) -> None:
    """Tell the trainer, whose devices are known by now, how its steps are made up.

    Lightning counts the interval of validation in micro-batches; ours is in optimizer steps.

    Args:
        trainer: to be changed.
        plan: of the global batch.
        max_tokens: tokens to train on, rounded up to whole steps; replaces `max_steps`.
        validate_every: optimizer steps between two validations.
        planned_steps: where the number of steps is open, what an earlier part of the run planned.

    Raises:
        UserError: a number is not above 0.
    """
    steps = trainer.fit_loop.epoch_loop.max_steps
    if max_tokens is not None:
        steps = math.ceil(max_tokens / plan.tokens)
    elif steps == OPEN and planned_steps is not None:
        steps = planned_steps
    if steps < 1 and steps != OPEN:
        raise UserError("trainer.max_steps and trainer.max_tokens must be above 0, or null")
    if trainer.limit_val_batches == 0:
        raise UserError("trainer.limit_val_batches=0 leaves nothing to measure; give 1 or more")
    if validate_every < 1:
        raise UserError(f"validate_every={validate_every} must be at least 1 optimizer step")
    trainer.fit_loop.epoch_loop.max_steps = steps
    trainer.accumulate_grad_batches = plan.accumulation
    trainer.val_check_interval = validate_every * plan.accumulation


def _device_type(accelerator: str) -> str:
    """`cuda`, `mps` or `cpu`: what Lightning's name for an accelerator stands for here."""
    if accelerator in ("cpu", "cuda", "mps"):
        return accelerator
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
