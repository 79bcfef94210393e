"""Steps shared by pretraining and fine-tuning runs: compose the trainer, fit, conclude."""

import signal
from collections.abc import Sequence
from typing import Any

import lightning as L
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy

from webtext_gpt.checkpoint.space import estimated_bytes
from webtext_gpt.data.rows import plural
from webtext_gpt.errors import Stopped, UserError
from webtext_gpt.settings import saved
from webtext_gpt.settings.optimization import Muon
from webtext_gpt.settings.run import RunSettings
from webtext_gpt.terminal import quoted, say
from webtext_gpt.training.allocation import keep_freed_memory
from webtext_gpt.training.batch import BatchPlan
from webtext_gpt.training.callbacks.agreement import Agreement
from webtext_gpt.training.callbacks.checkpoints import Checkpoints
from webtext_gpt.training.callbacks.hosts import Hosts
from webtext_gpt.training.callbacks.interrupt import stopped_at_once
from webtext_gpt.training.callbacks.loss_curve import LossCurve
from webtext_gpt.training.callbacks.notes import Notes
from webtext_gpt.training.callbacks.stable import StableCheckpoint
from webtext_gpt.training.callbacks.weight_average import weight_average
from webtext_gpt.training.chosen_callbacks import averages, build_callbacks, stable_checkpoint
from webtext_gpt.training.guard import Guard
from webtext_gpt.training.length import is_finished, run_length
from webtext_gpt.training.loggers import CSVLogger, location, save_run_id
from webtext_gpt.training.metrics import PER_TOKEN, LossMeaning
from webtext_gpt.training.module import ModuleOptions, TrainingModule
from webtext_gpt.training.opening import Run, lock_new, resume_command
from webtext_gpt.training.optim import moments
from webtext_gpt.training.report import write_run_report
from webtext_gpt.training.run_folder import (
    save_summary,
)
from webtext_gpt.training.strategy import partitions_parameters
from webtext_gpt.training.trainer import build_trainer


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
            *stable_checkpoint(run),
            *averages(run),
            Hosts(run.folder),
            Agreement(run.step),
            Notes(settings.scheduler, validate_every, *notes),
            *own_callbacks,
            *callbacks,
        ],
        loggers=[CSVLogger(run.folder, run.step), *extra],
        checkpoint=run.checkpoint,
    )
    if settings.compile is True and partitions_parameters(trainer.strategy):
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


def _refuse_average(trainer: L.Trainer) -> None:
    """Refuse an average of weights that are partitioned, not in fp32, or never saved."""
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
            "average= is saved from the last checkpoint, and callbacks.checkpoints=null writes "
            "none; leave one of the two out"
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


def module_options(
    settings: RunSettings,
    *,
    corpus: str | dict[str, str],
    tokens_per_step: int,
    compile_model: bool | str,
) -> ModuleOptions:
    """Return the arguments of `TrainingModule` that pretraining and fine-tuning share.

    Args:
        settings: the settings of the run.
        corpus: hash of the training data; for a mixture, hashes by source.
        tokens_per_step: tokens of the global batch.
        compile_model: whether to compile; see `TrainingModule`.
    """
    return {
        "corpus": corpus,
        "tokens_per_step": tokens_per_step,
        "make_optimizer": settings.optimizer.partial(),
        "schedule": settings.scheduler.partial(),
        "seed": settings.seed,
        "compile_model": compile_model,
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
        by_muon = isinstance(run.settings.optimizer, Muon)
        _check_space(trainer, module, moments(module.model, by_muon=by_muon))
        if not run.is_locked:
            lock_new(run)
        saved.save(run.settings, run.folder, **resolved)
        for logger in trainer.loggers:
            save_run_id(logger, run.folder)
        if run.checkpoint is not None:
            begins = f"after step {run.step:,}, from {quoted(run.checkpoint.path)}"
            say(begins, label="resume")
        say(plan_text)
    path = run.checkpoint.path if run.checkpoint else None
    on_cpu = trainer.strategy.root_device.type == "cpu"
    # Under ZeRO-3 gathered parameters come and go: 46 M of them in fp32 peaked at 1.9 GiB,
    # and at 2.3 GiB where freed memory was kept, at the same speed.
    if on_cpu and not partitions_parameters(trainer.strategy):
        keep_freed_memory()
    try:
        trainer.fit(module, data, ckpt_path=path, weights_only=True)
    except SystemExit as end:
        # Lightning ends the process at a Ctrl-C that no handler of ours takes.
        if not isinstance(end.__context__, KeyboardInterrupt) or not trainer.is_global_zero:
            raise
        signal.signal(signal.SIGINT, signal.default_int_handler)  # Lightning ignores it by now
        step = max(run.step, trainer.global_step)
        message = stopped_at_once(run.folder, step, resume_command(run))
        raise Stopped(message, exit_code=1) from None
    if (average := weight_average(trainer)) is not None and trainer.is_global_zero:
        average.write(module.parameter_names)
    return True


def _check_space(trainer: L.Trainer, module: TrainingModule, moments: int) -> None:
    """Refuse a run whose checkpoints do not fit on the disk."""
    halves = trainer.precision == "bf16-true" and not isinstance(
        trainer.strategy, DeepSpeedStrategy
    )
    average = weight_average(trainer)
    averages = 0 if average is None else average.average.copies
    before_decay = 2 * any(isinstance(c, StableCheckpoint) for c in trainer.callbacks)
    for callback in trainer.callbacks:
        if isinstance(callback, Checkpoints):
            width = 2 if halves else 4
            size = estimated_bytes(module.model, moments, width, averages)
            callback.check_space(size, trainer.max_steps, before_decay=before_decay)


def conclude(
    run: Run, trainer: L.Trainer, summary: dict[str, Any], sections: Sequence[str] = ()
) -> None:
    """Write the summary and report of a finished run; print where its loggers have written.

    Args:
        run: the run.
        trainer: its trainer, after training.
        summary: its figures, see `summarize`.
        sections: blocks of Markdown that this kind of training adds to the report.
    """
    curve = next((c for c in trainer.callbacks if isinstance(c, LossCurve)), None)
    metric = curve.metric if curve else "val_loss"
    save_summary(summary, run.folder)
    meaning = trainer.lightning_module.loss_meaning
    write_run_report(
        *(run.folder, run.settings, summary),
        metric=metric,
        meaning=meaning if isinstance(meaning, LossMeaning) else PER_TOKEN,
        line=run.line,
        sections=sections,
    )
    if skipped := summary["skipped_steps"]:
        say(f"{skipped:,} of {plural(summary['step'], 'step')} skipped", label="guard")
    norms = trainer.lightning_module.guard.norms
    if norms.spikes:
        say(
            f"{plural(norms.spikes, 'step')} with a gradient norm above "
            f"guard.spike={norms.factor:g} times its median",
            label="spikes",
        )
    for line in filter(None, map(location, trainer.loggers)):
        say(line)
