"""Steps shared by pretraining and fine-tuning runs: open, compose the trainer, fit, conclude."""

import os
import signal
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.strategies import FSDPStrategy
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from webtext_gpt.checkpoint.store import Checkpoint, open_checkpoint, restore_replaced
from webtext_gpt.cli import Call
from webtext_gpt.commands import COMMANDS, shell_command
from webtext_gpt.data.rows import plural
from webtext_gpt.errors import Stopped, UserError
from webtext_gpt.extras import check_installed
from webtext_gpt.paths import local_path
from webtext_gpt.settings import saved
from webtext_gpt.settings.callbacks import Callbacks
from webtext_gpt.settings.run import AUTO, RunSettings
from webtext_gpt.settings.training import TensorBoard, Wandb
from webtext_gpt.training.batch import BatchPlan
from webtext_gpt.training.callbacks.agreement import Agreement
from webtext_gpt.training.callbacks.interrupt import stopped_at_once
from webtext_gpt.training.callbacks.notes import Notes
from webtext_gpt.training.distributed.devices import Devices, external_launcher, find_devices
from webtext_gpt.training.distributed.launcher import CHOSEN, RUN_DIR, follow_parent
from webtext_gpt.training.guard import Guard
from webtext_gpt.training.loggers import CSVLogger, location, save_run_id
from webtext_gpt.training.module import ModuleOptions, TrainingModule
from webtext_gpt.training.run_folder import (
    newest_undamaged,
    read_summary,
    refuse_other_run,
    save_summary,
)
from webtext_gpt.training.strategy import Parallelism, partitions_parameters
from webtext_gpt.training.trainer import build_trainer, plan_length


@dataclass(frozen=True)
class Run:
    """A run that is about to start or to resume."""

    settings: RunSettings
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
        chosen: Parallelism = self.settings.strategy.build(self.devices)
        return chosen


def open_run(settings: RunSettings, call: Call | None = None) -> Run:
    """Open the run that the settings ask for, new or resumed, and find its devices.

    Args:
        settings: the settings; of a resumed run, those of its `config.yaml`.
        call: the command line; None if the caller is other Python code.

    Raises:
        UserError: the folder holds another run, or none to resume; its checkpoints are damaged;
            the devices do not exist; or several processes are requested in a sweep.
        ModuleNotFoundError: the package of the strategy or of the logger is not installed.
    """
    follow_parent()
    folder = local_path(os.environ.get(RUN_DIR) or settings.run_dir, "run_dir")
    checkpoint = None
    launcher = external_launcher() if call is not None else None
    names_folder = call is None or "run_dir" in call.given
    if launcher is not None and not settings.resume and not names_folder:
        raise UserError(
            f"{launcher} starts several processes, each of which would name the run's folder by "
            "its own clock; give run_dir=..."
        )
    if settings.resume == AUTO:
        if not names_folder:
            raise UserError("resume=auto needs run_dir=..., the same folder at every start")
        if saved.holds_run(folder):
            checkpoint = _checkpoint_to_resume(folder)
    elif settings.resume:
        checkpoint = _checkpoint_to_resume(folder)
    elif rank_zero_only.rank == 0:
        refuse_other_run(folder)
    trainer = settings.trainer
    devices = find_devices(trainer.accelerator, trainer.devices, trainer.num_nodes)
    if devices.count > 1 and call is not None and call.in_sweep:
        raise UserError(
            "a sweep (-m) trains with one process at a time, because every other process would "
            "start the sweep again; set trainer.devices=1, or start each run by itself from a "
            "shell loop: for lr in 1e-3 2e-3; do python train.py optimizer.lr=$lr ...; done"
        )
    run = Run(settings, folder, devices, checkpoint)
    for package in (run.parallelism.package, _logger_package(settings.logger)):
        if package is not None:
            check_installed(package)
    return run


def _logger_package(logger: TensorBoard | Wandb | None) -> str | None:
    """Return the package that a logger needs."""
    if logger is None:
        return None
    return "wandb" if isinstance(logger, Wandb) else "tensorboard"


def _checkpoint_to_resume(folder: Path) -> Checkpoint | None:
    """Return the newest undamaged checkpoint; one process per machine chooses and verifies it."""
    chosen = os.environ.get(CHOSEN)
    if chosen is None:
        is_rank_zero = rank_zero_only.rank == 0
        if is_rank_zero:
            restore_replaced(folder)
        return newest_undamaged(folder, report=is_rank_zero)
    return open_checkpoint(chosen) if chosen else None


def compose_trainer(
    run: Run,
    plan: BatchPlan,
    *,
    validate_every: int,
    max_steps: int | None = None,
    monitor: str = "val_loss",
    lower_is_better: bool | None = None,
    notes: tuple[str, float],
) -> L.Trainer:
    """Return the trainer of a run, with its strategy, callbacks and loggers.

    Args:
        run: the run, from `open_run`.
        plan: division of the global batch.
        validate_every: optimizer steps between two validations.
        max_steps: optimizer steps, if the settings leave the length to the caller.
        monitor: validation metric that chooses the best checkpoint, unless the settings name one.
        lower_is_better: whether a lower value of it is better; None if its name tells.
        notes: the setting that gives the size of the global batch, and the passes over the
            training data that one optimizer step makes.

    Raises:
        UserError: a setting is refused.
    """
    settings = run.settings
    lengths = settings.trainer
    callbacks = build_callbacks(
        settings.callbacks, run.folder, monitor, lower_is_better, resume_command(run)
    )
    logger = settings.logger
    extra = [logger.build(run_dir=run.folder, first_step=run.step)] if logger else []
    trainer = build_trainer(
        settings.trainer,
        run_dir=run.folder,
        devices=run.devices,
        parallelism=run.parallelism,
        plan=plan,
        length=plan_length(
            lengths.max_steps or max_steps,
            lengths.max_tokens,
            lengths.max_minutes,
            tokens_per_step=plan.tokens,
            planned_steps=run.state["max_steps"] if run.state else None,
        ),
        validate_every=validate_every,
        callbacks=[
            Agreement(run.step),
            Notes(settings.scheduler, validate_every, *notes),
            *callbacks,
        ],
        loggers=[CSVLogger(run.folder, run.step), *extra],
        checkpoint=run.checkpoint,
    )
    if settings.compile and partitions_parameters(trainer.strategy):
        raise UserError(
            "compile=true does not work with a strategy that partitions parameters, because the "
            "code that gathers each layer's parameters cannot be compiled; use "
            "strategy=deepspeed_zero2, deepspeed_zero1 or ddp, or compile=false"
        )
    if run.state is not None:
        _refuse_change_of_fsdp(run.state, trainer)
    return trainer


def build_callbacks(
    settings: Callbacks,
    folder: Path,
    monitor: str,
    lower_is_better: bool | None,
    resume: str = "resume=...",
) -> list[L.Callback]:
    """Return the callbacks that are not null.

    Args:
        settings: which, and how.
        folder: the run's folder.
        monitor: validation metric to watch, unless `checkpoints.monitor` names one.
        lower_is_better: whether a lower value of it is better.
        resume: the command that resumes the run, for messages.
    """
    chosen = settings.checkpoints
    if chosen is not None:
        monitor = chosen.monitor or monitor
        if chosen.lower_is_better is not None:
            lower_is_better = chosen.lower_is_better
    watched: dict[str, Any] = {"monitor": monitor, "lower_is_better": lower_is_better}
    more: dict[str, dict[str, Any]] = {
        "samples": {"run_dir": folder},
        "checkpoints": {"run_dir": folder, **watched},
        "early_stopping": watched,
        "interrupt": {"resume": resume},
        "loss_curve": {"run_dir": folder, "metric": monitor},
        "console": {"metric": monitor},
    }
    made = [
        target.build(**more.get(name, {}))
        for name in type(settings).model_fields
        if (target := getattr(settings, name)) is not None
    ]
    return [callback for callback in made if callback is not None]


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
    stopped_early = run.settings.resume == AUTO and summary.get("stopped_early", False)
    if summary.get("step") != run.step or not (all_taken or stopped_early):
        return False
    message = (
        f"the run in {run.folder} has taken its {run.step} steps; to continue training, give "
        f"resume={run.folder} and a greater length"
    )
    if run.settings.resume != AUTO:
        raise UserError(message)
    if rank_zero_only.rank == 0:
        print(message, flush=True)
    return True


def module_options(settings: RunSettings, *, corpus: str, tokens_per_step: int) -> ModuleOptions:
    """Return the arguments of `TrainingModule` that pretraining and fine-tuning share.

    Args:
        settings: the settings of the run.
        corpus: hash of the training data.
        tokens_per_step: tokens of the global batch.
    """
    return {
        "corpus": corpus,
        "tokens_per_step": tokens_per_step,
        "make_optimizer": settings.optimizer.partial(),
        "schedule": settings.scheduler.partial(),
        "seed": settings.seed,
        "compile_model": settings.compile,
        "guard": Guard(settings.guard.not_finite, settings.guard.spike),
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
        Stopped: a signal stopped training, and its state is saved; or a second Ctrl-C, at once.
        UserError: the run to resume is a different training, or the guard stopped training.
    """
    if run.state is not None:
        module.refuse_other_training(run.state)
        if is_finished(run, trainer):
            return False
    if trainer.is_global_zero:
        saved.save(run.settings, run.folder, **resolved)
        for logger in trainer.loggers:
            save_run_id(logger, run.folder)
        print(plan_text, flush=True)
    path = run.checkpoint.path if run.checkpoint else None
    try:
        trainer.fit(module, data, ckpt_path=path, weights_only=True)
    except SystemExit as end:
        # Lightning ends the process at a Ctrl-C that no handler of ours takes.
        if not isinstance(end.__context__, KeyboardInterrupt) or not trainer.is_global_zero:
            raise
        signal.signal(signal.SIGINT, signal.default_int_handler)  # Lightning has it ignored
        step = max(run.step, trainer.global_step)
        message = stopped_at_once(run.folder, step, resume_command(run))
        raise Stopped(message, exit_code=1) from None
    return True


def resume_command(run: Run) -> str:
    """Return the command that resumes a run."""
    settings = type(run.settings)
    (name,) = (n for n, c in COMMANDS.items() if c.settings.endswith(f":{settings.__name__}"))
    return shell_command(name, f"resume={run.folder}")


def conclude(run: Run, trainer: L.Trainer, summary: dict[str, Any]) -> None:
    """Write the summary of a finished run, and print where its loggers have written."""
    save_summary(summary, run.folder)
    if skipped := summary["skipped_steps"]:
        print(f"guard       {skipped:,} of {plural(summary['step'], 'step')} skipped")
    for line in filter(None, map(location, trainer.loggers)):
        print(line)
