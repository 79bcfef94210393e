"""One fine-tuning run, from its configuration to `summary.json`."""

import dataclasses
import hashlib
import math
from collections.abc import Sequence

import lightning as L
import torch
from hydra.utils import instantiate
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from omegaconf import DictConfig

from webtext_gpt.checkpoint import build, load_any
from webtext_gpt.checks import number, whole_number
from webtext_gpt.data.examples import Examples, check_labels, overlap, read_splits
from webtext_gpt.data.finetuning import EncodedExamples, FinetuningData
from webtext_gpt.data.task import Task
from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, GPTClassifier, language_model
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.training.batch import plan_examples
from webtext_gpt.training.compose import (
    Run,
    carry_out,
    compose_trainer,
    conclude,
    module_options,
    open_run,
)
from webtext_gpt.training.finetuning import FinetuningModule
from webtext_gpt.training.hardware import place_for_inference
from webtext_gpt.training.jobs import Job, open_job
from webtext_gpt.training.launcher import first_process_speaks
from webtext_gpt.training.recompute import recompute_activations
from webtext_gpt.training.start import choose_trained, load_body
from webtext_gpt.training.summary import Summary, progress_figures
from webtext_gpt.training.trainer import set_lengths


@first_process_speaks()
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
    task = open_task(cfg)
    train, validation, test = read_splits(task)
    others = {"validation": validation} | ({} if test is None else {"test": test})
    job = open_job(cfg, task, train)
    for name, examples in others.items():
        _check(task, job, train, examples, name)
    L.seed_everything(cfg.seed, verbose=False)
    model, tokenizer = _model(run, job)
    encoded = {
        name: job.encode(model, tokenizer, examples)
        for name, examples in {"train": train, "validation": validation}.items()
    }
    for name, split in encoded.items():
        _say_truncated(name, split.sequences.truncated, len(split.places))
    lengths = encoded["train"].sequences.lengths
    plan = plan_examples(
        cfg.batch_size, int(lengths.max()), run.devices.count, cfg.micro_batch_size
    )
    steps_of_epoch = math.ceil(len(train) / plan.global_batch_size)
    trainer = compose_trainer(_with_length(run, steps_of_epoch))
    set_lengths(
        trainer,
        plan,
        max_tokens=None,
        validate_every=cfg.validate_every or steps_of_epoch,
        planned_steps=run.state["max_steps"] if run.state else None,
    )
    data = FinetuningData(
        encoded["train"],
        encoded["validation"],
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
        truth=torch.from_numpy(encoded["validation"].targets),
        task=task.to_dict(),
        lora=_lora(cfg),
        corpus=_hash(encoded["train"]),
        tokens_per_step=round(float(lengths.mean()) * plan.global_batch_size),
        **module_options(cfg),
    )
    if cfg.activation_checkpointing:
        recompute_activations(language_model(model))
    text = _plan_text(trainer, module, train, validation, steps_of_epoch)
    trained = carry_out(run, trainer, module, data, text)
    if not trained or not trainer.is_global_zero:
        return {}
    best, tokenizer = load_any(run.folder)
    place_for_inference(best, cfg.device, cfg.precision)
    summary: Summary = {"task": task.name}
    for name, examples in others.items():
        figures = job.conclude(best, tokenizer, examples, run.folder / name)
        short = {"validation": "val"}.get(name, name)
        summary |= {f"{short}_{metric}": value for metric, value in figures.items()}
    summary |= progress_figures(trainer, module)
    summary |= {
        "epochs": trainer.global_step * plan.global_batch_size / len(train),
        "trained_parameters": module.num_trained,
        "examples": len(train),
        "truncated": encoded["train"].sequences.truncated,
    }
    conclude(run, trainer, summary)
    return summary


def open_task(cfg: DictConfig) -> Task:
    """The task that a configuration chooses.

    Raises:
        UserError: it chooses none, or a key of it is refused.
    """
    if cfg.get("task") is None:
        raise UserError(
            "task has no value; give task=sst2 or another of conf/task, or for files of your own "
            "task=file task.train=FILE (columns: task.text=..., task.label=...)"
        )
    return instantiate(cfg.task)


def _model(run: Run, job: Job) -> tuple[GPT | GPTClassifier, Tokenizer]:
    """What is trained, the rest of it frozen; of a continued run, as that run has it."""
    cfg = run.cfg
    if run.state is not None:
        model, tokenizer = build({**run.state, "lora": None})
    else:
        if cfg.checkpoint is None:
            raise UserError("checkpoint has no value; give checkpoint=RUN, of a pretrained model")
        body, tokenizer = load_body(
            cfg.checkpoint, dropout=cfg.body_dropout, from_scratch=cfg.from_scratch
        )
        model, tokenizer = job.model(body, tokenizer)
    if isinstance(model, GPT) == hasattr(job, "labels"):
        raise UserError("the run to continue was of another kind of task; start a new run")
    choose_trained(model, cfg.layers, _lora(cfg), cfg.lm_weight)
    return model.train(), tokenizer


def _lora(cfg: DictConfig) -> dict[str, float] | None:
    """Arguments of `add_lora`.

    Raises:
        UserError: one is out of range.
    """
    if cfg.lora.rank is None:
        return None
    whole_number("lora.rank", cfg.lora.rank, 1)
    dropout = number("lora.dropout", cfg.lora.dropout)
    if not 0 <= dropout < 1:
        raise UserError(f"lora.dropout={dropout} must be in [0, 1)")
    return {
        "rank": cfg.lora.rank,
        "alpha": number("lora.alpha", cfg.lora.alpha),
        "dropout": dropout,
    }


def _with_length(run: Run, steps_of_epoch: int) -> Run:
    """The run with its number of steps, where only epochs are given."""
    cfg = run.cfg.copy()
    if cfg.trainer.max_tokens is not None:
        raise UserError("trainer.max_tokens: fine-tuning is measured in epochs=... or max_steps")
    if cfg.trainer.max_steps is None and cfg.trainer.max_minutes is None:
        epochs = number("epochs", cfg.epochs)
        if epochs <= 0:
            raise UserError(f"epochs={epochs} must be above 0")
        cfg.trainer.max_steps = math.ceil(epochs * steps_of_epoch)
    return dataclasses.replace(run, cfg=cfg)


def _check(task: Task, job: Job, train: Examples, examples: Examples, name: str) -> None:
    """Refuse labels that are not learned; warn of rows that are, with their answers."""
    if isinstance(labels := getattr(job, "labels", None), tuple):
        check_labels(examples, labels, task)
    same = overlap(train, examples)
    if same and rank_zero_only.rank == 0:
        print(
            f"warning: {len(same):,} of the {len(examples):,} {name} rows are in the training "
            f"data too, the first {examples.places[same[0]]}; figures of {name} are flattered"
            + (" and mean nothing" if len(same) > len(examples) / 2 else ""),
            flush=True,
        )


@rank_zero_only
def _say_truncated(name: str, truncated: int, rows: int) -> None:
    if truncated:
        print(
            f"{truncated:,} of {rows:,} {name} rows are longer than the model's context and were "
            "cut",
            flush=True,
        )


def _hash(examples: EncodedExamples) -> str:
    """SHA-256 of token sequences and targets."""
    digest = hashlib.sha256(examples.targets.tobytes())
    for tokens, start in zip(examples.sequences.tokens, examples.sequences.starts, strict=True):
        digest.update(f"{tokens.shape} {start} ".encode())
        digest.update(tokens.tobytes())
    return digest.hexdigest()


def _plan_text(
    trainer: L.Trainer,
    module: FinetuningModule,
    train: Examples,
    validation: Examples,
    steps_of_epoch: int,
) -> str:
    """What is about to be done, in a few lines."""
    steps = trainer.max_steps
    length = f"{steps:,} steps" if steps > 0 else "as many steps as fit"
    epochs = f", {steps / steps_of_epoch:.3g} epochs," if steps > 0 else ""
    labels = getattr(module.model.config, "labels", ())
    shown = ", ".join(labels[:8]) + (", ..." if len(labels) > 8 else "")
    return (
        f"model       {module.num_parameters:,} parameters, {module.num_trained:,} are trained\n"
        f"examples    {len(train):,} for training, {len(validation):,} for validation"
        f"{f'; {len(labels)} labels: {shown}' if labels else ''}\n"
        f"training    {length}{epochs} of {module.batch_size} examples, "
        f"{trainer.precision} on {trainer.world_size} {trainer.strategy.root_device.type}\n"
        f"run         {trainer.default_root_dir}"
    )
