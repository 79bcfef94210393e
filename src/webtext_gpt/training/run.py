"""Steps shared by pretraining and fine-tuning runs: open, compose the trainer, fit, conclude."""

import os
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import lightning as L
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from webtext_gpt.checkpoint.space import estimated_bytes
from webtext_gpt.checkpoint.store import (
    Checkpoint,
    damage,
    open_checkpoint,
    restore_replaced,
    saved_checkpoints,
)
from webtext_gpt.cli import Call
from webtext_gpt.commands import COMMANDS, shell_command
from webtext_gpt.data.rows import plural
from webtext_gpt.errors import Stopped, UserError
from webtext_gpt.extras import check_installed
from webtext_gpt.paths import local_path
from webtext_gpt.settings import saved
from webtext_gpt.settings.callbacks import Callbacks
from webtext_gpt.settings.optimization import WarmupStableDecay
from webtext_gpt.settings.run import AUTO, RunSettings
from webtext_gpt.settings.training import TensorBoard, Wandb
from webtext_gpt.training.batch import BatchPlan
from webtext_gpt.training.callbacks.agreement import Agreement
from webtext_gpt.training.callbacks.checkpoints import Checkpoints
from webtext_gpt.training.callbacks.early_stopping import Patience
from webtext_gpt.training.callbacks.interrupt import stopped_at_once
from webtext_gpt.training.callbacks.notes import Notes
from webtext_gpt.training.callbacks.stable import StableCheckpoint, decay_start_of
from webtext_gpt.training.callbacks.time_budget import OPEN, TimeBudget
from webtext_gpt.training.callbacks.weight_average import WeightAverage, weight_average
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
from webtext_gpt.training.run_lock import WAIT_SECONDS, RunLock
from webtext_gpt.training.strategy import Parallelism, partitions_parameters
from webtext_gpt.training.trainer import DEFAULT_MINUTES, Length, build_trainer, plan_length


@dataclass(frozen=True)
class Run:
    """A run that is about to start or to resume.

    Used in a `with` statement, at whose end the run's folder is unlocked.
    """

    settings: RunSettings
    folder: Path
    devices: Devices
    checkpoint: Checkpoint | None
    """The checkpoint to resume from."""
    goes_back: bool = False
    """Whether it is an older one, from before the learning rate decayed (`before_decay`)."""
    held: ExitStack = field(default_factory=ExitStack)
    """Releases the lock of the folder."""
    is_locked: bool = False
    """Whether the folder was locked when the run was opened; `fit` locks that of a new run."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.held.close()

    @property
    def state(self) -> dict[str, Any] | None:
        """Plain values of the checkpoint."""
        return self.checkpoint.state if self.checkpoint else None

    @property
    def step(self) -> int:
        """Optimizer steps taken so far."""
        return self.state["global_step"] if self.state else 0

    @property
    def planned_minutes(self) -> float | None:
        """Minutes for which the number of steps was estimated; `None` if it was set otherwise."""
        if self.state is None:
            return None
        if "planned_minutes" in self.state:
            minutes: float | None = self.state["planned_minutes"]
            return minutes
        config = saved.load(self.folder)  # earlier versions did not save it
        asked = config.get("trainer") or {}
        if asked.get("max_steps") is not None or asked.get("max_tokens") is not None:
            return None
        return asked.get("max_minutes") or (None if "epochs" in config else DEFAULT_MINUTES)

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
        UserError: the folder holds another run, or none to resume; another process trains in it;
            its checkpoints are damaged; the devices do not exist; or several processes are
            requested in a sweep.
        ModuleNotFoundError: the package of the strategy or of the logger is not installed.
    """
    held = ExitStack()
    try:
        return _open_run(settings, call, held)
    except BaseException:
        held.close()
        raise


def _open_run(settings: RunSettings, call: Call | None, held: ExitStack) -> Run:
    follow_parent()
    folder = local_path(os.environ.get(RUN_DIR) or settings.run_dir, "run_dir")
    checkpoint = None
    is_locked = False
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
            is_locked = _lock_to_resume(folder, held, wait=WAIT_SECONDS)
            checkpoint = _checkpoint_to_resume(folder, is_locked)
    elif settings.resume:
        is_locked = _lock_to_resume(folder, held)
        checkpoint = _checkpoint_to_resume(folder, is_locked)
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
    run = Run(settings, folder, devices, checkpoint, held=held, is_locked=is_locked)
    for package in (run.parallelism.package, _logger_package(settings.logger)):
        if package is not None:
            check_installed(package)
    return run


def _logger_package(logger: TensorBoard | Wandb | None) -> str | None:
    """Return the package that a logger needs."""
    if logger is None:
        return None
    return "wandb" if isinstance(logger, Wandb) else "tensorboard"


def _lock_to_resume(folder: Path, held: ExitStack, wait: float = 0.0) -> bool:
    """Lock a run's folder before anything in it is read; only rank 0 of all machines does.

    A finished run in a folder that cannot be written to is only reported, which needs no lock.

    Returns:
        Whether this process has locked it.
    """
    node = os.environ.get("NODE_RANK") or os.environ.get("GROUP_RANK") or "0"
    if rank_zero_only.rank != 0 or int(node) > 0:
        return False
    if read_summary(folder) and not os.access(folder, os.W_OK):
        return False
    held.enter_context(RunLock(folder, wait))
    return True


def _checkpoint_to_resume(folder: Path, is_locked: bool) -> Checkpoint | None:
    """Return the newest undamaged checkpoint; one process per machine chooses and verifies it."""
    chosen = os.environ.get(CHOSEN)
    if chosen is None:
        if is_locked:
            restore_replaced(folder)
        return newest_undamaged(folder, report=rank_zero_only.rank == 0)
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
    own_callbacks: Sequence[L.Callback] = (),
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
        own_callbacks: callbacks of this kind of training, besides those of the settings.

    Raises:
        UserError: a setting is refused.
    """
    settings = run.settings
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
        length=run_length(run, plan.tokens, max_steps),
        validate_every=validate_every,
        callbacks=[
            *_stable_checkpoint(run),
            *_averages(run),
            Agreement(run.step),
            Notes(settings.scheduler, validate_every, *notes),
            *own_callbacks,
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
    if settings.average is not None:
        _refuse_average(trainer)
    if run.state is not None:
        _refuse_change_of_fsdp(run.state, trainer)
    return trainer


def run_length(run: Run, tokens_per_step: int, max_steps: int | None = None) -> Length:
    """Return when a run ends, new or resumed.

    Args:
        run: the run. If it is resumed with the same time, it keeps the steps that it had planned.
        tokens_per_step: tokens of the global batch.
        max_steps: optimizer steps, if the settings leave the length to the caller.
    """
    asked = run.settings.trainer
    length = plan_length(
        asked.max_steps or max_steps,
        asked.max_tokens,
        asked.max_minutes,
        tokens_per_step=tokens_per_step,
    )
    length = replace(length, is_estimated=length.max_steps == OPEN)
    if run.state is None:
        return length
    if length.is_estimated and length.max_minutes == run.planned_minutes:
        length = replace(length, max_steps=run.state["max_steps"])
    return replace(length, taken_steps=run.step, taken_seconds=run.state["seconds"])


def before_decay(run: Run, length: Length) -> Run:
    """Return a resumed run of `scheduler=wsd` as it was before its decay, if that now comes later.

    A run that is planned longer continues from the last checkpoint at the peak learning rate, and
    equals one that was planned so from the start.

    Raises:
        UserError: no such checkpoint is left.
    """
    scheduler = run.settings.scheduler
    if run.state is None or not isinstance(scheduler, WarmupStableDecay):
        return run
    start = _decay_start(run.state)
    if start is None or run.step <= start:
        return run
    if length.max_steps != OPEN:
        is_later = decay_start_of(scheduler, length.max_steps) > start
    else:
        is_later = (length.max_minutes or 0) * 60 > run.state["seconds"]
    if not is_later:
        return run
    for path in saved_checkpoints(run.folder):
        try:
            stable = open_checkpoint(path)
        except UserError:
            continue
        is_stable = stable.state["global_step"] <= (_decay_start(stable.state) or 0)
        if is_stable and damage(path) is None:
            if rank_zero_only.rank == 0:
                print(f"resumes from {path.name}, before the learning rate decayed", flush=True)
            return replace(run, checkpoint=stable, goes_back=True)
    raise UserError(
        f"the learning rate of the run in {run.folder} has decayed since step {start}, and no "
        "checkpoint from before is left to continue from; start a new run"
    )


def _decay_start(state: dict[str, Any]) -> int | None:
    """Return the step at which a checkpoint's run was to decay; `None` under another schedule."""
    start: int | None = state["callbacks"].get(StableCheckpoint.__name__, {}).get("decay_start")
    return start


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


def _refuse_average(trainer: L.Trainer) -> None:
    """Refuse an average where the optimizer's weights are not whole fp32 values, or unsaved."""
    if partitions_parameters(trainer.strategy):
        raise UserError(
            "average= does not work with a strategy that partitions parameters (fsdp, "
            "deepspeed_zero3), where it cannot be put in place of the weights for validation; use "
            "strategy=deepspeed_zero2, deepspeed_zero1 or ddp, or average=null"
        )
    if trainer.precision == "bf16-true" and not isinstance(trainer.strategy, DeepSpeedStrategy):
        raise UserError(
            "average= needs weights in fp32, since an average in bf16 stands still; use "
            "trainer.precision=bf16-mixed, a deepspeed_ strategy, or average=null"
        )
    if not any(isinstance(callback, Checkpoints) for callback in trainer.callbacks):
        raise UserError(
            "average= is saved from the last checkpoint, and callbacks.checkpoints=null leaves "
            "checkpoints out; set one of the two"
        )


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
    """Return whether a resumed run has reached its end and written its summary.

    A run without a summary, for example after a signal during the last validation, is not finished.

    Raises:
        UserError: it is finished, and `resume` names it; or it is not, but has taken more steps
            than this call asks for.
    """
    ended = _why_ended(run, trainer)
    if ended is None:
        return False
    reason, more = ended
    message = (
        f"the run in {run.folder} {reason}; to continue training, give resume={run.folder} and "
        f"{more}"
    )
    if read_summary(run.folder).get("step") != run.step:
        if 0 < trainer.max_steps < run.step:
            raise UserError(message)
        return False
    if run.settings.resume != AUTO:
        raise UserError(message)
    if rank_zero_only.rank == 0:
        print(message, flush=True)
    return True


def _stable_checkpoint(run: Run) -> list[L.Callback]:
    """Return the callback that `scheduler=wsd` needs."""
    scheduler = run.settings.scheduler
    if not isinstance(scheduler, WarmupStableDecay):
        return []
    return [StableCheckpoint(run.folder, scheduler, goes_back=run.goes_back)]


def _averages(run: Run) -> list[WeightAverage]:
    """Return the callback of `average=`."""
    average = run.settings.average
    return [] if average is None else [WeightAverage(run.folder, average.build())]


def _why_ended(run: Run, trainer: L.Trainer) -> tuple[str, str] | None:
    """Return why a resumed run takes no further step, and what it needs for more; or `None`."""
    assert run.state is not None  # noqa: S101 - callers have checked it
    lengths = [f"trainer.{key}" for key in ("max_steps", "max_tokens", "max_minutes")]
    if hasattr(run.settings, "epochs"):
        lengths[1] = "epochs"
    greater = f"a greater length ({', '.join(lengths[:-1])} or {lengths[-1]})"
    if 0 < trainer.max_steps < run.step:
        return f"has taken {run.step} steps, and this call asks for {trainer.max_steps}", greater
    if trainer.max_steps == run.step:
        return f"has taken its {run.step} steps", greater
    for callback in trainer.callbacks:
        if isinstance(callback, TimeBudget) and run.state["seconds"] >= 60 * callback.minutes:
            minutes, limit = run.state["seconds"] / 60, f"trainer.max_minutes={callback.minutes:g}"
            return f"has trained for {minutes:.2f} minutes, past {limit}", greater
        if isinstance(callback, Patience):
            before = run.state["callbacks"].get(callback.state_key, {})
            if before.get("wait_count", 0) >= callback.patience:
                return (
                    f"ended early, after {callback.patience} validations without a better "
                    f"{callback.monitor}",
                    "a greater callbacks.early_stopping.patience",
                )
    return None


def module_options(
    settings: RunSettings, *, corpus: str | dict[str, str], tokens_per_step: int
) -> ModuleOptions:
    """Return the arguments of `TrainingModule` that pretraining and fine-tuning share.

    Args:
        settings: the settings of the run.
        corpus: hash of the training data, of a mixture by source.
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
        UserError: the run to resume is a different training, another process trains in the
            folder, the disk is too small for the checkpoints or is full by now, or the guard
            stopped training.
    """
    if run.state is not None:
        module.refuse_other_training(run.state)
        if is_finished(run, trainer):
            return False
    if trainer.is_global_zero:
        _check_space(trainer, module)
        if not run.is_locked:
            _lock_new(run)
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
    if (average := weight_average(trainer)) is not None and trainer.is_global_zero:
        average.write(module.parameter_names)
    return True


def _check_space(trainer: L.Trainer, module: TrainingModule) -> None:
    """Refuse a run whose checkpoints do not fit on the disk."""
    halves = trainer.precision == "bf16-true" and not isinstance(
        trainer.strategy, DeepSpeedStrategy
    )
    average = weight_average(trainer)
    averages = 0 if average is None else average.average.copies
    before_decay = 2 * any(isinstance(c, StableCheckpoint) for c in trainer.callbacks)
    for callback in trainer.callbacks:
        if isinstance(callback, Checkpoints):
            size = estimated_bytes(module.model, width=2 if halves else 4, averages=averages)
            callback.check_space(size, trainer.max_steps, before_decay=before_decay)


def _lock_new(run: Run) -> None:
    """Make and lock the folder of a new run, which another process may have begun meanwhile."""
    run.held.enter_context(RunLock(run.folder))
    if run.checkpoint is None:
        refuse_other_run(run.folder)


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
