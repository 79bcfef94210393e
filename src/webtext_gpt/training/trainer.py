"""The Lightning trainer, set up from plain settings."""

import logging
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.loggers import Logger
from lightning.pytorch.loops.fit_loop import _FitLoop
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.strategies import DeepSpeedStrategy, Strategy

from webtext_gpt.checkpoint.store import Checkpoint
from webtext_gpt.errors import UserError
from webtext_gpt.training.batch import BatchPlan
from webtext_gpt.training.callbacks.checkpoints import Checkpoints
from webtext_gpt.training.callbacks.time_budget import OPEN, TimeBudget
from webtext_gpt.training.checkpoint_io import AtomicCheckpointIO
from webtext_gpt.training.distributed.devices import Devices
from webtext_gpt.training.precision import best_precision

DEFAULT_MINUTES = 5
"""Of training where nothing says how long."""


def build_trainer(
    settings: Mapping[str, Any],
    *,
    run_dir: Path,
    devices: Devices,
    make_strategy: Callable[[Devices], str | Strategy],
    callbacks: Sequence[L.Callback],
    loggers: Sequence[Logger],
    checkpoint: Checkpoint | None = None,
) -> L.Trainer:
    """A trainer that counts optimizer steps, on the given devices.

    Args:
        settings: Lightning's own arguments, and `max_minutes`, after which training ends;
            `precision: auto` takes bf16 where the hardware has it. `max_tokens` is left to
            `set_lengths`. Where neither steps nor tokens are given, as many steps are planned
            as fit into the time (`DEFAULT_MINUTES` unless given).
        run_dir: the run's folder.
        devices: see `find_devices`.
        make_strategy: a Lightning strategy, or its name, for the devices.
        callbacks: what happens beside training.
        loggers: where metrics go.
        checkpoint: what training will go on from.

    Raises:
        UserError: Lightning refuses a setting, as more devices than there are.
    """
    arguments = {str(name): value for name, value in settings.items()}
    max_tokens, minutes = arguments.pop("max_tokens"), arguments.pop("max_minutes")
    if arguments["precision"] == "auto":
        arguments["precision"] = best_precision(devices.kind)
    if arguments["max_steps"] is None:
        arguments["max_steps"] = OPEN
        if max_tokens is None:
            minutes = DEFAULT_MINUTES if minutes is None else minutes
    if arguments.get("gradient_clip_algorithm") not in (None, "norm"):
        raise UserError(
            "trainer.gradient_clip_algorithm: every strategy clips gradients by their global norm; "
            f"leave {arguments['gradient_clip_algorithm']} out"
        )
    strategy = make_strategy(devices)
    _refuse_precision(arguments["precision"])
    requested = arguments["devices"]
    by_index = "," in requested if isinstance(requested, str) else not isinstance(requested, int)
    if devices.kind != "cuda" or not by_index:  # Lightning's CPUs have no index
        arguments["devices"] = devices.per_node
    if minutes is not None:
        callbacks = [TimeBudget(minutes), *callbacks]
    # A checkpoint holds what the others have done by then.
    callbacks = sorted(callbacks, key=lambda callback: isinstance(callback, Checkpoints))
    _silence_lightning()
    try:
        trainer = L.Trainer(
            **arguments,
            strategy=strategy,
            callbacks=callbacks,
            logger=list(loggers),
            default_root_dir=run_dir,
            plugins=[AtomicCheckpointIO(checkpoint)],
            use_distributed_sampler=False,  # our samplers know the devices
            check_val_every_n_epoch=None,  # there is one epoch, without end
            num_sanity_val_steps=0,
            enable_checkpointing=False,  # done by our callback, as is the progress bar
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"trainer: {error}") from error
    trainer.fit_loop.__class__ = FitLoop
    environment = trainer._accelerator_connector.cluster_environment
    if isinstance(environment, SLURMEnvironment):
        environment.auto_requeue = False  # Lightning's signal handler would save beside ours
    return trainer


class FitLoop(_FitLoop):
    """Lightning's loop, begun also where no step is left: what follows the last may be missing."""

    @property
    def skip(self) -> bool:
        """Never: a run that is not to go on at all is refused before."""
        return False


NOISE = (
    ".*LeafSpec.*",
    ".*handles gradient clipping internally.*",  # so does our module, where DeepSpeed does not
    ".*It is recommended to use `self.log.*sync_dist.*",  # the values are the same everywhere
    ".*all_gather_into_tensor.*",
    ".*reduce_scatter_tensor.*",
)
"""Warnings of Lightning and DeepSpeed about their own use of torch, and about what we know."""


def _silence_lightning() -> None:
    """Drop greetings and tips."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in NOISE:
        warnings.filterwarnings("ignore", message=message)


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
    if isinstance(trainer.strategy, DeepSpeedStrategy):
        trainer.strategy.config["train_micro_batch_size_per_gpu"] = plan.micro_batch_size


def _refuse_precision(precision: Any) -> None:
    if str(precision).startswith("16") or precision == "transformer-engine-float16":
        raise UserError(
            f"trainer.precision={precision}: training in fp16 needs a loss scale, which is not "
            "supported; use bf16-mixed, or 32-true where the hardware has no bf16"
        )
