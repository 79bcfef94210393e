"""Steps shared by pretraining and fine-tuning runs: open, compose the trainer, fit, conclude."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
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

from webtext_gpt.checkpoint.store import Checkpoint, open_checkpoint, restore_replaced
from webtext_gpt.errors import UserError
from webtext_gpt.extras import check_installed
from webtext_gpt.training.batch import BatchPlan
from webtext_gpt.training.callbacks.agreement import Agreement
from webtext_gpt.training.distributed.devices import Devices, external_launcher, find_devices
from webtext_gpt.training.distributed.launcher import CHOSEN, follow_parent
from webtext_gpt.training.guard import Guard
from webtext_gpt.training.loggers import CSVLogger, location, save_run_id
from webtext_gpt.training.module import ModuleOptions, TrainingModule
from webtext_gpt.training.run_folder import (
    holds_run,
    newest_undamaged,
    read_summary,
    refuse_other_run,
    reopen,
    save_config,
    save_summary,
)
from webtext_gpt.training.strategy import Parallelism, partitions_parameters
from webtext_gpt.training.trainer import build_trainer, plan_length

AUTO = "auto"
"""Value of `resume` that starts a run, or resumes it if its folder holds one."""


@dataclass(frozen=True)
class Run:
    """A run that is about to start or to resume."""

    cfg: DictConfig
    folder: Path
    devices: Devices
    checkpoint: Checkpoint | None
    """The checkpoint to resume from."""

    @property
    def state(self) -> dict[str, Any] | None:
        """Plain values of the checkpoint."""
        return self.checkpoint.state if self.checkpoint else None

    @property
    def step(self) -> int:
        """Optimizer steps taken so far."""
        return self.state["global_step"] if self.state else 0

    @cached_property
    def parallelism(self) -> Parallelism:
        """Distribution of training over the devices."""
        chosen: Parallelism = instantiate(self.cfg.strategy)(self.devices)
        return chosen


def open_run(cfg: DictConfig, overrides: Sequence[str] = ()) -> Run:
    """Open the run that a configuration asks for, new or resumed, and find its devices.

    Args:
        cfg: the composed configuration. If `cfg.resume` names a run, the run's configuration
            replaces it.
        overrides: this call's `key=value` arguments, which may change a resumed run.

    Raises:
        UserError: the folder holds another run, or none to resume; its checkpoints are damaged;
            the devices do not exist; or several processes are requested in a sweep.
        ModuleNotFoundError: the strategy's package is not installed.
    """
    follow_parent()
    folder = Path(cfg.run_dir)
    names_folder = any(o.startswith("run_dir=") for o in overrides)
    checkpoint = None
    launcher = external_launcher() if HydraConfig.initialized() else None
    if launcher is not None and not cfg.resume and not names_folder:
        raise UserError(
            f"{launcher} starts several processes, each of which would name the run's folder by "
            "its own clock; give run_dir=..."
        )
    if cfg.resume == AUTO:
        if overrides and not names_folder:
            raise UserError("resume=auto needs run_dir=..., the same folder at every start")
        if holds_run(folder):
            checkpoint = _checkpoint_to_resume(folder)
    elif cfg.resume:
        cfg = reopen(folder, overrides, cfg)
        checkpoint = _checkpoint_to_resume(folder)
    elif rank_zero_only.rank == 0:
        refuse_other_run(folder)
    settings = cfg.trainer
    devices = find_devices(settings.accelerator, settings.devices, settings.num_nodes)
    if devices.count > 1 and HydraConfig.initialized():
        _refuse_sweep(HydraConfig.get().mode)
    run = Run(cfg, folder, devices, checkpoint)
    if run.parallelism.package is not None:
        check_installed(run.parallelism.package)
    return run


def _checkpoint_to_resume(folder: Path) -> Checkpoint | None:
    """Return the newest undamaged checkpoint; one process per machine chooses and verifies it."""
    chosen = os.environ.get(CHOSEN)
    if chosen is None:
        is_rank_zero = rank_zero_only.rank == 0
        if is_rank_zero:
            restore_replaced(folder)
        return newest_undamaged(folder, report=is_rank_zero)
    return open_checkpoint(chosen) if chosen else None


def _refuse_sweep(mode: RunMode | None) -> None:
    if mode == RunMode.MULTIRUN:
        raise UserError(
            "a sweep (-m) trains with one process at a time, because every other process would "
            "start the sweep again; set trainer.devices=1, or start each run by itself from a "
            "shell loop: for lr in 1e-3 2e-3; do python train.py optimizer.lr=$lr ...; done"
        )


def compose_trainer(run: Run, plan: BatchPlan, *, validate_every: int) -> L.Trainer:
    """Return the trainer of a run, with its strategy, callbacks and loggers.

    Args:
        run: the run, from `open_run`.
        plan: division of the global batch.
        validate_every: optimizer steps between two validations.

    Raises:
        UserError: a setting is refused.
    """
    cfg = run.cfg
    trainer = build_trainer(
        cfg.trainer,
        run_dir=run.folder,
        devices=run.devices,
        parallelism=run.parallelism,
        plan=plan,
        length=plan_length(
            cfg.trainer.max_steps,
            cfg.trainer.max_tokens,
            cfg.trainer.max_minutes,
            tokens_per_step=plan.tokens,
            planned_steps=run.state["max_steps"] if run.state else None,
        ),
        validate_every=validate_every,
        callbacks=[Agreement(run.step), *filter(None, instantiate(cfg.callbacks).values())],
        loggers=[CSVLogger(run.folder, run.step), *_extra_loggers(cfg.logger, run.step)],
        checkpoint=run.checkpoint,
    )
    if cfg.compile and partitions_parameters(trainer.strategy):
        raise UserError(
            "compile=true does not work with a strategy that partitions parameters, because the "
            "code that gathers each layer's parameters cannot be compiled; use "
            "strategy=deepspeed_zero2, deepspeed_zero1 or ddp, or compile=false"
        )
    if run.state is not None:
        _refuse_change_of_fsdp(run.state, trainer)
    return trainer


def _extra_loggers(cfg: DictConfig | None, first_step: int) -> list[Logger]:
    return [instantiate(cfg, first_step=first_step)] if cfg else []


def _refuse_change_of_fsdp(state: dict[str, Any], trainer: L.Trainer) -> None:
    """Refuse to resume an FSDP run without FSDP, or the reverse.

    FSDP numbers optimizer states in another order, and a conversion has not been tested.
    """
    is_fsdp = isinstance(trainer.strategy, FSDPStrategy)
    if state.get("fsdp", False) != is_fsdp:
        theirs, ours = ("another", "fsdp") if is_fsdp else ("fsdp", "another")
        raise UserError(
            f"the run to resume was trained with {theirs} strategy, this call asks for {ours}; "
            "optimizer states cannot be carried over between fsdp and others. Set strategy="
            f"{'auto, ddp or deepspeed_zero3' if is_fsdp else 'fsdp'}, or start a new run"
        )


def is_finished(run: Run, trainer: L.Trainer) -> bool:
    """Return whether a resumed run has taken all its steps and written its summary.

    A run without a summary, for example after a signal during the last validation, is not finished.

    Raises:
        UserError: it is finished, and `resume` names it.
    """
    summary = read_summary(run.folder)
    all_taken = 0 < trainer.max_steps <= run.step
    stopped_early = run.cfg.resume == AUTO and summary.get("stopped_early", False)
    if summary.get("step") != run.step or not (all_taken or stopped_early):
        return False
    message = (
        f"the run in {run.folder} has taken its {run.step} steps; to continue training, give "
        f"resume={run.folder} and a greater length"
    )
    if run.cfg.resume != AUTO:
        raise UserError(message)
    if rank_zero_only.rank == 0:
        print(message, flush=True)
    return True


def module_options(cfg: DictConfig, *, corpus: str, tokens_per_step: int) -> ModuleOptions:
    """Return the arguments of `TrainingModule` that pretraining and fine-tuning share.

    Args:
        cfg: the composed configuration.
        corpus: hash of the training data.
        tokens_per_step: tokens of the global batch.
    """
    return {
        "corpus": corpus,
        "tokens_per_step": tokens_per_step,
        "make_optimizer": instantiate(cfg.optimizer),
        "schedule": instantiate(cfg.scheduler),
        "seed": cfg.seed,
        "compile_model": cfg.compile,
        "guard": Guard(cfg.guard.not_finite, cfg.guard.spike),
    }


def fit(
    run: Run,
    trainer: L.Trainer,
    module: TrainingModule,
    data: L.LightningDataModule,
    plan_text: str,
    **resolved: Any,
) -> bool:
    """Write the run's configuration and train to the end, from the checkpoint if there is one.

    Args:
        run: the run, from `open_run`.
        trainer: the trainer, from `compose_trainer`.
        module: the module to train.
        data: its data.
        plan_text: description of the run, printed on rank 0.
        resolved: values found at run time, written to `config.yaml` so that a resume reuses them.

    Returns:
        Whether there was anything to do. A finished run is left unchanged.

    Raises:
        Stopped: a signal stopped training; its state is saved.
        UserError: the run to resume is a different training, or the guard stopped training.
    """
    if run.state is not None:
        module.refuse_other_training(run.state)
        if is_finished(run, trainer):
            return False
    if trainer.is_global_zero:
        save_config(run.cfg, run.folder, **resolved)
        for logger in trainer.loggers:
            save_run_id(logger, run.folder)
        print(plan_text, flush=True)
    path = run.checkpoint.path if run.checkpoint else None
    trainer.fit(module, data, ckpt_path=path, weights_only=True)
    return True


def conclude(run: Run, trainer: L.Trainer, summary: dict[str, Any]) -> None:
    """Write the summary of a finished run, and print where its loggers have written."""
    save_summary(summary, run.folder)
    for line in filter(None, map(location, trainer.loggers)):
        print(line)
