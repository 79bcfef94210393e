"""Build the Lightning trainer from plain settings, devices and the batch plan."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.strategies import DeepSpeedStrategy
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from webtext_gpt.checkpoint.store import Checkpoint
from webtext_gpt.errors import UserError
from webtext_gpt.settings.training import Trainer
from webtext_gpt.training.batch import BatchPlan
from webtext_gpt.training.callbacks.checkpoints import Checkpoints
from webtext_gpt.training.callbacks.profile import Profile, TraceProfile, profiler
from webtext_gpt.training.callbacks.time_budget import TimeBudget
from webtext_gpt.training.checkpoint_io import AtomicCheckpointIO
from webtext_gpt.training.distributed.devices import Devices
from webtext_gpt.training.length import Length
from webtext_gpt.training.lightning_internals import cluster_environment, use_own_loops
from webtext_gpt.training.precision import best_precision, warn_of_emulated_bf16
from webtext_gpt.training.strategy import Parallelism

NOISE = (
    ".*LeafSpec.*",
    ".*handles gradient clipping internally.*",  # our module clips where DeepSpeed does not
    ".*It is recommended to use `self.log.*sync_dist.*",  # the values are the same on all ranks
    ".*callbacks used to create the checkpoint.*",  # a resumed run may leave one out
    ".*all_gather_into_tensor.*",
    ".*reduce_scatter_tensor.*",
    ".*`srun` command is available.*",  # on a machine of a cluster, without a job
    ".*`broadcast_buffers` is deprecated.*",  # its successor is missing before torch 2.13
)
"""Warnings of Lightning and DeepSpeed about their own use of torch, or about intended settings."""


def build_trainer(
    settings: Trainer,
    *,
    run_dir: Path,
    devices: Devices,
    parallelism: Parallelism,
    plan: BatchPlan,
    length: Length,
    validate_every: int,
    callbacks: Sequence[L.Callback],
    loggers: Sequence[Logger],
    checkpoint: Checkpoint | None = None,
) -> L.Trainer:
    """Return a trainer that counts optimizer steps.

    Args:
        settings: Lightning's arguments. `precision: auto` uses bf16 if the hardware multiplies it.
            The settings that the other arguments replace (`devices`, `max_steps`, `max_tokens`,
            `max_minutes`) are not read.
        run_dir: the run's folder.
        devices: devices to train on, from `find_devices`.
        parallelism: how training is distributed over them.
        plan: division of the global batch.
        length: when training ends.
        validate_every: optimizer steps between two validations.
        callbacks: callbacks; reordered so that `Checkpoints` runs after all others.
        loggers: loggers of metrics.
        checkpoint: the checkpoint that training resumes.

    Raises:
        UserError: Lightning refuses a setting.
    """
    arguments = settings.arguments()
    for ours in ("max_tokens", "max_minutes"):
        del arguments[ours]
    if arguments["precision"] == "auto":
        arguments["precision"] = best_precision(devices.kind)
    elif rank_zero_only.rank == 0:
        chosen = f"trainer.precision={arguments['precision']}"
        warn_of_emulated_bf16(chosen, devices.kind, "trainer.precision=32-true")
    if (kind := arguments["profiler"]) is not None:
        callbacks = [*callbacks, (TraceProfile if kind == "pytorch" else Profile)(run_dir)]
        arguments["profiler"] = profiler(kind)
    if length.max_minutes is not None:
        budget = TimeBudget(
            length.max_minutes,
            is_estimate=length.is_estimated,
            taken_steps=length.taken_steps,
            taken_seconds=length.taken_seconds,
        )
        callbacks = [budget, *callbacks]
    if not (arguments.get("deterministic") or torch.are_deterministic_algorithms_enabled()):
        arguments["deterministic"] = None  # to switch it off, torch would import its compiler
    strategy = parallelism.build()
    if isinstance(strategy, DeepSpeedStrategy):
        strategy.config["train_micro_batch_size_per_gpu"] = plan.micro_batch_size
    arguments |= {
        "devices": devices.for_lightning,
        "max_steps": length.max_steps,
        "accumulate_grad_batches": plan.accumulation,
        "val_check_interval": validate_every * plan.accumulation,  # counted in micro-batches
    }
    _silence_libraries()
    try:
        trainer = L.Trainer(
            **arguments,
            strategy=strategy,
            callbacks=sorted(callbacks, key=lambda callback: isinstance(callback, Checkpoints)),
            logger=list(loggers),
            default_root_dir=run_dir,
            plugins=[AtomicCheckpointIO(checkpoint)],
            use_distributed_sampler=False,  # our samplers already divide the data among ranks
            max_epochs=-1,
            check_val_every_n_epoch=None,  # a single, endless epoch
            num_sanity_val_steps=0,
            enable_checkpointing=False,  # our callbacks write checkpoints and the progress bar
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"trainer: {error}") from error
    use_own_loops(trainer)
    environment = cluster_environment(trainer)
    if isinstance(environment, SLURMEnvironment):
        environment.auto_requeue = False  # Lightning's signal handler would save in addition
    return trainer


def _silence_libraries() -> None:
    """Suppress the greetings, tips and known warnings of Lightning and DeepSpeed."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in NOISE:
        warnings.filterwarnings("ignore", message=message)
