"""One fine-tuning run, from its configuration to `summary.json`."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from webtext_gpt.checkpoint.description import empty_model
from webtext_gpt.checkpoint.load import load
from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.data.datamodule import FinetuningData
from webtext_gpt.finetuning.data.examples import Examples, read_splits
from webtext_gpt.finetuning.data.task import Task
from webtext_gpt.finetuning.example_checks import check_split, hash_of, say_truncated
from webtext_gpt.finetuning.jobs import Job, open_job
from webtext_gpt.finetuning.model import choose_trained, load_body
from webtext_gpt.finetuning.module import FinetuningModule
from webtext_gpt.model import GPT, GPTClassifier, language_model
from webtext_gpt.settings import number, whole_number
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.training.activation_checkpointing import recompute_activations
from webtext_gpt.training.batch import plan_examples
from webtext_gpt.training.distributed.launcher import rank_zero_reports_first
from webtext_gpt.training.precision import place_for_inference
from webtext_gpt.training.run import (
    Run,
    compose_trainer,
    conclude,
    fit,
    module_options,
    open_run,
)
from webtext_gpt.training.summary import Summary, progress_figures

RECIPE = ("layers", "dropout", "body_dropout", "lm_weight", "from_scratch")
"""Settings that a continued run keeps."""


@rank_zero_reports_first()
def finetune(cfg: DictConfig, overrides: Sequence[str] = ()) -> Summary:
    """Fine-tune a model as `conf/finetune.yaml` composes it, in the folder `cfg.run_dir`.

    Args:
        cfg: the composed configuration; where `cfg.resume` is set, that of the run in
            `cfg.run_dir` takes its place.
        overrides: this call's `key=value` arguments, which may change a continued run.

    Returns:
        What `summary.json` holds; nothing on processes other than the first, or where
        `resume=auto` finds the run finished.

    Raises:
        UserError: something in the configuration or the data cannot be used; nothing was trained
            or written to the run's folder then. Or training met a loss that is not finite.
        Stopped: training was interrupted, and is saved.
    """
    run = open_run(cfg, overrides)
    cfg = run.cfg
    check_settings(cfg)
    task = open_task(cfg)
    train, validation, test = read_splits(task)
    measured = {"validation": validation} | ({} if test is None else {"test": test})
    job = open_job(cfg, task, train)
    for name, examples in measured.items():
        check_split(task, job.labels, train, examples, name)
    L.seed_everything(cfg.seed, verbose=False)
    model, tokenizer = _model(run, job)
    encoded, held_out = (job.encode(model, tokenizer, split) for split in (train, validation))
    say_truncated("training", encoded)
    lengths = encoded.sequences.lengths
    orders = encoded.sequences.tokens[0].ndim  # each pair is read so many times
    plan = plan_examples(
        cfg.batch_size, orders * int(lengths.max()), run.devices.count, cfg.micro_batch_size
    )
    trainer = compose_trainer(
        _settled(run, task, len(train)),
        plan,
        validate_every=cfg.validate_every or math.ceil(len(train) / plan.global_batch_size),
    )
    data = FinetuningData(
        encoded,
        held_out,
        global_batch_size=plan.global_batch_size,
        micro_batch_size=plan.micro_batch_size,
        pad=tokenizer.end_of_text,
        seed=cfg.seed,
        num_workers=cfg.num_workers,
    )
    module = job.module(
        model,
        tokenizer,
        batch_size=plan.global_batch_size,
        truth=torch.from_numpy(held_out.targets),
        task=task.to_dict(),
        recipe={key: cfg[key] for key in RECIPE},
        lora=_lora(cfg),
        **module_options(
            cfg,
            corpus=hash_of(encoded),
            tokens_per_step=round(orders * float(lengths.mean()) * plan.global_batch_size),
        ),
    )
    if cfg.activation_checkpointing:
        recompute_activations(language_model(model))
    trained = fit(run, trainer, module, data, _plan_text(trainer, module, data))
    if not trained or not trainer.is_global_zero:
        return {}
    summary = {
        "task": task.name,
        **_final_figures(run, job, measured),
        **progress_figures(trainer, module),
        "epochs": trainer.global_step * plan.global_batch_size / len(train),
        "trained_parameters": module.num_trained,
        "examples": len(train),
        "truncated": encoded.sequences.truncated,
    }
    conclude(run, trainer, summary)
    return summary


def check_settings(cfg: DictConfig) -> None:
    """Refuse settings of `conf/finetune.yaml` that are out of range.

    Raises:
        UserError: names the key.
    """
    number("epochs", cfg.epochs, 0)
    number("dropout", cfg.dropout, 0, 1)
    number("lm_weight", cfg.lm_weight, 0)
    whole_number("seed", cfg.seed, 0)
    if cfg.seed >= 2**32:
        raise UserError(f"seed={cfg.seed} must be under 2^32")
    if cfg.validate_every is not None:
        whole_number("validate_every", cfg.validate_every, 1)
    if cfg.trainer.max_tokens is not None:
        raise UserError("trainer.max_tokens: fine-tuning is measured in epochs=... or max_steps")


def open_task(cfg: DictConfig) -> Task:
    """The task that a configuration chooses.

    Raises:
        UserError: it chooses none, or a key of it is refused.
    """
    if "_target_" not in cfg.task:
        raise UserError(
            "task has no value; give task=sst2 or another of conf/task, or for files of your own "
            "task=file task.train=FILE (columns: task.text=..., task.label=...)"
        )
    return instantiate(cfg.task)


def _model(run: Run, job: Job) -> tuple[GPT | GPTClassifier, Tokenizer]:
    """What is trained, the rest of it frozen; of a continued run, as that run has it."""
    cfg = run.cfg
    if run.state is not None:
        model, tokenizer = empty_model({**run.state, "lora": None})
        labels = model.config.labels if isinstance(model, GPTClassifier) else ()
        if labels != job.labels:
            raise UserError(
                f"the run to continue has the labels {', '.join(labels) or 'of no classifier'}, "
                f"this call {', '.join(job.labels) or 'none'}; start a new run"
            )
    else:
        if cfg.checkpoint is None:
            raise UserError("checkpoint has no value; give checkpoint=RUN, of a pretrained model")
        body, tokenizer = load_body(
            cfg.checkpoint, dropout=cfg.body_dropout, from_scratch=cfg.from_scratch
        )
        model, tokenizer = job.model(body, tokenizer)
    choose_trained(model, cfg.layers, _lora(cfg), cfg.lm_weight)
    return model.train(), tokenizer


def _lora(cfg: DictConfig) -> dict[str, Any] | None:
    """Arguments of `add_lora`.

    Raises:
        UserError: one is out of range.
    """
    if cfg.lora.rank is None:
        return None
    whole_number("lora.rank", cfg.lora.rank, 1)
    if number("lora.alpha", cfg.lora.alpha, 0) == 0:
        raise UserError("lora.alpha=0 leaves nothing to train; give 1 or more")
    dropout = number("lora.dropout", cfg.lora.dropout, 0, 1)
    return {"rank": cfg.lora.rank, "alpha": float(cfg.lora.alpha), "dropout": dropout}


def _settled(run: Run, task: Task, n: int) -> Run:
    """The run with what its configuration leaves open: the steps of its epochs, its metric."""
    cfg = run.cfg.copy()
    if cfg.trainer.max_steps is None and cfg.trainer.max_minutes is None:
        cfg.trainer.max_steps = max(1, math.ceil(cfg.epochs * n / cfg.batch_size))
    if "checkpoints" in cfg.callbacks and cfg.callbacks.checkpoints.monitor is None:
        cfg.callbacks.checkpoints.monitor = f"val_{task.metrics[0]}"
    return dataclasses.replace(run, cfg=cfg)


def _final_figures(run: Run, job: Job, measured: dict[str, Examples]) -> dict[str, float]:
    """What the best checkpoint reaches, by names as `val_accuracy` and `test_accuracy`."""
    loaded = load(run.folder)
    model, tokenizer = loaded.model, loaded.tokenizer
    place_for_inference(model, run.cfg.device, run.cfg.precision)
    figures: dict[str, float] = {}
    for name, examples in measured.items():
        prefix = {"validation": "val"}.get(name, name)
        found = job.conclude(model, tokenizer, examples, run.folder / name)
        figures |= {f"{prefix}_{metric}": value for metric, value in found.items()}
    return figures


def _plan_text(trainer: L.Trainer, module: FinetuningModule, data: FinetuningData) -> str:
    """What is about to be done, in a few lines."""
    n, steps = len(data.training.places), trainer.max_steps
    epochs = f", {steps * module.batch_size / n:.3g} epochs," if steps > 0 else ""
    length = f"{steps:,} steps" if steps > 0 else "as many steps as fit"
    labels = getattr(module.model.config, "labels", ())
    shown = ", ".join(labels[:8]) + (", ..." if len(labels) > 8 else "")
    return (
        f"model       {module.num_parameters:,} parameters, {module.num_trained:,} are trained\n"
        f"examples    {n:,} for training, {len(data.validation.places):,} for validation"
        f"{f'; {len(labels)} labels: {shown}' if labels else ''}\n"
        f"training    {length}{epochs} of {module.batch_size} examples, "
        f"{trainer.precision} on {trainer.world_size} {trainer.strategy.root_device.type}\n"
        f"run         {trainer.default_root_dir}"
    )
