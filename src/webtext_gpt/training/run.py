"""What all entry points that train have in common: a run is opened, a trainer composed, and run."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import FSDPStrategy
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from omegaconf import DictConfig

from webtext_gpt.checkpoint.store import Checkpoint, open_checkpoint
from webtext_gpt.errors import UserError
from webtext_gpt.training.callbacks.agreement import Agreement
from webtext_gpt.training.distributed.devices import Devices, external_launcher, find_devices
from webtext_gpt.training.distributed.launcher import CHOSEN, follow_parent
from webtext_gpt.training.loggers import CSVLogger, keep_id, where
from webtext_gpt.training.module import TrainingModule
from webtext_gpt.training.run_folder import (
    holds_run,
    newest_complete,
    read_summary,
    refuse_other_run,
    reopen,
    save_config,
    save_summary,
)
from webtext_gpt.training.strategy import partitions_parameters
from webtext_gpt.training.trainer import build_trainer

AUTO = "auto"
"""Value of `resume` that begins a run, or continues it where it was begun."""


@dataclass(frozen=True)
class Run:
    """A run that is about to begin or to go on."""

    cfg: DictConfig
    folder: Path
    devices: Devices
    checkpoint: Checkpoint | None
    """What it goes on from."""

    @property
    def state(self) -> dict[str, Any] | None:
        """Plain values of the checkpoint."""
        return self.checkpoint.state if self.checkpoint else None


def open_run(cfg: DictConfig, overrides: Sequence[str] = ()) -> Run:
    """Open the run that a configuration asks for, new or continued, and find its devices.

    Args:
        cfg: composed; where `cfg.resume` names a run, that run's own takes its place.
        overrides: this call's `key=value` arguments, which may change a continued run.

    Raises:
        UserError: the folder holds another run, or none to continue; its checkpoints are
            damaged; the devices are not there; or several processes are asked for in a sweep.
    """
    follow_parent()
    folder = Path(cfg.run_dir)
    first = rank_zero_only.rank == 0
    checkpoint = None
    if (
        external_launcher() is not None
        and HydraConfig.initialized()
        and not cfg.resume
        and not any(o.startswith("run_dir=") for o in overrides)
    ):
        raise UserError(
            f"{external_launcher()} starts processes that each would name a run's folder by their "
            "own clock; give run_dir=..."
        )
    if cfg.resume == AUTO:
        if overrides and not any(o.startswith("run_dir=") for o in overrides):
            raise UserError("resume=auto needs run_dir=..., the same folder at every start")
        if holds_run(folder):
            checkpoint = _chosen(folder)
    elif cfg.resume:
        cfg = reopen(folder, overrides, cfg)
        checkpoint = _chosen(folder)
    elif first:
        refuse_other_run(folder)
    devices = find_devices(cfg.trainer)
    if devices.count > 1 and HydraConfig.initialized():
        _refuse_sweep(HydraConfig.get().mode)
    return Run(cfg, folder, devices, checkpoint)


def _chosen(folder: Path) -> Checkpoint | None:
    """What a run goes on from: chosen, every byte read, by the first process of a machine."""
    chosen = os.environ.get(CHOSEN)
    if chosen is None:
        return newest_complete(folder, say=rank_zero_only.rank == 0)
    return open_checkpoint(chosen) if chosen else None


def _refuse_sweep(mode: RunMode | None) -> None:
    if mode == RunMode.MULTIRUN:
        raise UserError(
            "a sweep (-m) trains with one process at a time, since every further process would "
            "begin the sweep anew; set trainer.devices=1, or start each run by itself from a "
            "shell loop: for lr in 1e-3 2e-3; do python train.py optimizer.lr=$lr ...; done"
        )


def compose_trainer(run: Run) -> L.Trainer:
    """The trainer of a run, with its strategy, callbacks and loggers.

    Raises:
        UserError: a setting is refused.
    """
    cfg, step = run.cfg, run.state["global_step"] if run.state else 0
    trainer = build_trainer(
        cfg.trainer,
        run_dir=run.folder,
        devices=run.devices,
        make_strategy=instantiate(cfg.strategy),
        callbacks=[Agreement(step), *filter(None, instantiate(cfg.callbacks).values())],
        loggers=[CSVLogger(run.folder, step), *_further_logger(cfg.logger, step)],
        checkpoint=run.checkpoint,
    )
    if cfg.compile and partitions_parameters(trainer.strategy):
        raise UserError(
            "compile=true does not go with a strategy that divides parameters, since each layer's "
            "are gathered by code that cannot be compiled; use strategy=deepspeed_zero2, "
            "deepspeed_zero1 or ddp, or compile=false"
        )
    if run.state is not None:
        _refuse_crossing(run.state, trainer)
    return trainer


def _further_logger(cfg: DictConfig | None, first_step: int) -> list[Logger]:
    return [instantiate(cfg, first_step=first_step)] if cfg else []


def _refuse_crossing(state: dict[str, Any], trainer: L.Trainer) -> None:
    """FSDP numbers optimizer states in another order, and which way has not been tried."""
    is_fsdp = isinstance(trainer.strategy, FSDPStrategy)
    if state.get("fsdp", False) != is_fsdp:
        theirs, ours = ("another", "fsdp") if is_fsdp else ("fsdp", "another")
        raise UserError(
            f"the run to continue was trained with {theirs} strategy, this call asks for {ours}; "
            "optimizer states cannot be carried over between fsdp and others. Set strategy="
            f"{'auto, ddp or deepspeed_zero3' if is_fsdp else 'fsdp'}, or start a new run"
        )


def is_finished(run: Run, trainer: L.Trainer) -> bool:
    """Whether a continued run has taken its steps, and its summary is written.

    Where the summary is missing, as after a signal during the last validation, what is left of
    the run is done.

    Raises:
        UserError: it is finished, and was to be continued by name.
    """
    step = run.state["global_step"] if run.state else 0
    summary = read_summary(run.folder)
    took_all = 0 < trainer.max_steps <= step
    stopped_early = run.cfg.resume == AUTO and summary.get("stopped_early", False)
    if summary.get("step") != step or not (took_all or stopped_early):
        return False
    message = (
        f"the run in {run.folder} has taken its {step} steps; to train on, continue it by "
        f"resume={run.folder} with a greater length"
    )
    if run.cfg.resume != AUTO:
        raise UserError(message)
    if rank_zero_only.rank == 0:
        print(message, flush=True)
    return True


def module_options(cfg: DictConfig) -> dict[str, Any]:
    """Arguments of `TrainingModule` that every entry point takes from its configuration alike."""
    return {
        "make_optimizer": instantiate(cfg.optimizer),
        "schedule": instantiate(cfg.scheduler),
        "seed": cfg.seed,
        "compile_model": cfg.compile,
        "not_finite": cfg.guard.not_finite,
        "spike": cfg.guard.spike,
    }


def carry_out(
    run: Run,
    trainer: L.Trainer,
    module: TrainingModule,
    data: L.LightningDataModule,
    plan: str,
    **settled: Any,
) -> bool:
    """Train to the end, from the checkpoint if there is one, and write the run's configuration.

    Args:
        run: of `open_run`.
        trainer: of `compose_trainer`.
        module: what is trained.
        data: what it is trained on.
        plan: what is about to be done, to be printed.
        settled: values of keys that may have been left open, as a continued run has to have them.

    Returns:
        Whether there was anything to do: a finished run is left alone.

    Raises:
        Stopped: a signal asked for it; everything is saved.
        UserError: the run to continue is another; or training met something that it cannot go on
            with.
    """
    if run.state is not None:
        module.refuse_other_training(run.state)
        if is_finished(run, trainer):
            return False
    if trainer.is_global_zero:
        save_config(run.cfg, run.folder, **settled)
        for logger in trainer.loggers:
            keep_id(logger, run.folder)
        print(plan, flush=True)
    path = run.checkpoint.path if run.checkpoint else None
    trainer.fit(module, data, ckpt_path=path, weights_only=True)
    return True


def conclude(run: Run, trainer: L.Trainer, summary: dict[str, Any]) -> None:
    """Write the summary of a run that is over, and say where else its figures are."""
    save_summary(summary, run.folder)
    for line in filter(None, map(where, trainer.loggers)):
        print(line)
