"""One fine-tuning run, from its configuration to `summary.json`."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import lightning as L
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from webtext_gpt.checkpoint.load import LoadedModel, empty_model, load
from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.classification import Classification
from webtext_gpt.finetuning.completion import Completion
from webtext_gpt.finetuning.data.datamodule import FinetuningData
from webtext_gpt.finetuning.data.examples import Examples, print_once
from webtext_gpt.finetuning.data.splits import check_labels, read_splits, warn_of_overlap
from webtext_gpt.finetuning.data.task import Task
from webtext_gpt.finetuning.metrics import METRICS
from webtext_gpt.finetuning.model import LoraSettings, choose_trained, load_body
from webtext_gpt.finetuning.module import FinetuningModule, Objective
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
"""Settings that a resumed run must not change."""


@dataclass(frozen=True)
class Finetuned:
    """The outcome of a run."""

    summary: Summary
    """Contents of `summary.json`; empty on ranks other than 0, and if there was nothing to do."""
    best: LoadedModel | None = None
    """The best checkpoint, placed for inference; `None` if the summary is empty."""


@rank_zero_reports_first()
def finetune(
    cfg: DictConfig, overrides: Sequence[str] = (), start: LoadedModel | None = None
) -> Finetuned:
    """Fine-tune a model in the folder `cfg.run_dir`.

    Args:
        cfg: composed from `conf/finetune.yaml`. With `cfg.resume`, the configuration of the run in
            `cfg.run_dir` replaces it.
        overrides: this call's `key=value` arguments, which may change a resumed run.
        start: `cfg.checkpoint`, if it is loaded already.

    Raises:
        UserError: a setting or the data cannot be used; nothing was trained or written to the
            run's folder. Or the loss was not finite.
        Stopped: training was interrupted; its state is saved.
    """
    run = open_run(cfg, overrides)
    cfg = run.cfg
    check_settings(cfg)
    task = open_task(cfg)
    train, validation, test = read_splits(task)
    measured = {"validation": validation} | ({} if test is None else {"test": test})
    objective = _objective(cfg, task, train)
    for name, examples in measured.items():
        check_labels(examples, objective.labels, task)
        warn_of_overlap(train, examples, name)
    L.seed_everything(cfg.seed, verbose=False)
    model, tokenizer = _model(run, objective, start)
    encoded, held_out = (objective.encode(model, tokenizer, split) for split in (train, validation))
    if cut := encoded.sequences.truncated:
        print_once(
            f"{cut:,} of the {len(train):,} training rows do not fit the context and are truncated"
        )
    lengths = encoded.sequences.lengths
    orders = encoded.sequences.tokens[0].ndim  # 2 if pairs are read in both orders
    plan = plan_examples(
        cfg.batch_size, orders * int(lengths.max()), run.devices.count, cfg.micro_batch_size
    )
    trainer = compose_trainer(
        _with_length_and_monitor(run, task, len(train)),
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
    module = objective.build_module(
        model,
        tokenizer,
        batch_size=plan.global_batch_size,
        truth=torch.from_numpy(held_out.targets),
        task=task.to_dict(),
        recipe={key: cfg[key] for key in RECIPE},
        lora=_lora(cfg),
        **module_options(
            cfg,
            corpus=encoded.sha256(),
            tokens_per_step=round(orders * float(lengths.mean()) * plan.global_batch_size),
        ),
    )
    if cfg.activation_checkpointing:
        recompute_activations(language_model(model))
    trained = fit(run, trainer, module, data, _plan_text(trainer, module, data))
    if not trained or not trainer.is_global_zero:
        return Finetuned({})
    best = load(run.folder)
    place_for_inference(best.model, cfg.device, cfg.precision)
    summary = {
        "task": task.name,
        **_final_figures(run, objective, best, measured),
        **progress_figures(trainer, module),
        "epochs": trainer.global_step * plan.global_batch_size / len(train),
        "trained_parameters": module.num_trained,
        "examples": len(train),
        "truncated": encoded.sequences.truncated,
    }
    conclude(run, trainer, summary)
    return Finetuned(summary, best)


def check_settings(cfg: DictConfig) -> None:
    """Refuse settings of `conf/finetune.yaml` that are out of range.

    Raises:
        UserError: names the key.
    """
    number("epochs", cfg.epochs, 0)
    number("dropout", cfg.dropout, 0, 1)
    number("lm_weight", cfg.lm_weight, 0)
    if cfg.body_dropout is not None:
        number("body_dropout", cfg.body_dropout, 0, 1)
    whole_number("seed", cfg.seed, 0)
    if cfg.seed >= 2**32:
        raise UserError(f"seed={cfg.seed} must be less than 2^32")
    if cfg.validate_every is not None:
        whole_number("validate_every", cfg.validate_every, 1)
    if cfg.trainer.max_tokens is not None:
        raise UserError(
            "trainer.max_tokens is for pretraining; set epochs=... or trainer.max_steps=..."
        )


def open_task(cfg: DictConfig) -> Task:
    """Return the task that a configuration chooses.

    Raises:
        UserError: no task is chosen, or one of its keys is invalid.
    """
    if "_target_" not in cfg.task:
        raise UserError(
            "task has no value; give task=sst2 or another of conf/task, or for files of your own "
            "task=file task.train=FILE (columns: task.text=..., task.label=...)"
        )
    return instantiate(cfg.task)


def _objective(cfg: DictConfig, task: Task, train: Examples) -> Objective:
    """Return the objective of the task's kind."""
    if task.kind == "completion":
        return Completion(task, score_limit=cfg.score_limit, max_new_tokens=cfg.max_new_tokens)
    return Classification(task, train, dropout=cfg.dropout, lm_weight=cfg.lm_weight)


def _model(
    run: Run, objective: Objective, start: LoadedModel | None
) -> tuple[GPT | GPTClassifier, Tokenizer]:
    """Return the model to train, with some weights frozen if asked for, and its tokenizer.

    The weights of a resumed run are loaded later, with its optimizer.
    """
    cfg = run.cfg
    if run.state is not None:
        model, tokenizer = empty_model({**run.state, "lora": None})
        labels = model.config.labels if isinstance(model, GPTClassifier) else ()
        if labels != objective.labels:
            raise UserError(
                f"the run to resume has {_listed_labels(labels)}, this call "
                f"{_listed_labels(objective.labels)}; start a new run"
            )
    else:
        if cfg.checkpoint is None:
            raise UserError("checkpoint has no value; give checkpoint=RUN, of a pretrained model")
        body, tokenizer = load_body(
            cfg.checkpoint, start, dropout=cfg.body_dropout, from_scratch=cfg.from_scratch
        )
        model, tokenizer = objective.build_model(body, tokenizer)
    choose_trained(model, cfg.layers, _lora(cfg), cfg.lm_weight)
    return model.train(), tokenizer


def _listed_labels(labels: Sequence[str]) -> str:
    return f"the labels {', '.join(labels)}" if labels else "no labels"


def _lora(cfg: DictConfig) -> LoraSettings | None:
    """Return the arguments of `add_lora`, or `None` if the model is not adapted.

    Raises:
        UserError: one is out of range.
    """
    if cfg.lora.rank is None:
        return None
    whole_number("lora.rank", cfg.lora.rank, 1)
    if number("lora.alpha", cfg.lora.alpha, 0) == 0:
        raise UserError("lora.alpha=0 leaves nothing to train; give a number above 0")
    dropout = number("lora.dropout", cfg.lora.dropout, 0, 1)
    return {"rank": cfg.lora.rank, "alpha": float(cfg.lora.alpha), "dropout": dropout}


def _with_length_and_monitor(run: Run, task: Task, n: int) -> Run:
    """Fill in unset settings: the number of steps for `n` examples, and the metric to monitor."""
    cfg = run.cfg.copy()
    if cfg.trainer.max_steps is None and cfg.trainer.max_minutes is None:
        cfg.trainer.max_steps = max(1, math.ceil(cfg.epochs * n / cfg.batch_size))
    if "checkpoints" in cfg.callbacks:
        checkpoints = cfg.callbacks.checkpoints
        checkpoints.monitor = checkpoints.monitor or f"val_{task.metrics[0]}"
        metric = METRICS[task.kind].get(checkpoints.monitor.removeprefix("val_"))
        if metric is not None and checkpoints.get("lower_is_better") is None:
            for callback in ("checkpoints", "early_stopping"):  # earlier runs lack the key
                key = f"callbacks.{callback}.lower_is_better"
                if callback in cfg.callbacks:
                    OmegaConf.update(cfg, key, metric.lower_is_better, force_add=True)
    return dataclasses.replace(run, cfg=cfg)


def _final_figures(
    run: Run, objective: Objective, best: LoadedModel, measured: dict[str, Examples]
) -> dict[str, float]:
    """Measure the best checkpoint; names are `val_accuracy`, `test_accuracy` and so on."""
    figures: dict[str, float] = {}
    for name, examples in measured.items():
        prefix = {"validation": "val"}.get(name, name)
        found = objective.evaluate(best.model, best.tokenizer, examples, run.folder / name)
        figures |= {f"{prefix}_{metric}": value for metric, value in found.items()}
    return figures


def _plan_text(trainer: L.Trainer, module: FinetuningModule, data: FinetuningData) -> str:
    """Describe the run in a few lines."""
    n, steps = len(data.training.places), trainer.max_steps
    epochs = f", {steps * module.batch_size / n:.3g} epochs," if steps > 0 else ""
    length = f"{steps:,} steps" if steps > 0 else "as many steps as fit the time"
    labels = module.model.config.labels if isinstance(module.model, GPTClassifier) else ()
    shown = ", ".join(labels[:8]) + (", ..." if len(labels) > 8 else "")
    return (
        f"model       {module.num_parameters:,} parameters, {module.num_trained:,} are trained\n"
        f"examples    {n:,} for training, {len(data.validation.places):,} for validation"
        f"{f'; {len(labels)} labels: {shown}' if labels else ''}\n"
        f"training    {length}{epochs} of {module.batch_size} examples, "
        f"{trainer.precision} on {trainer.world_size} {trainer.strategy.root_device.type}\n"
        f"run         {trainer.default_root_dir}"
    )
