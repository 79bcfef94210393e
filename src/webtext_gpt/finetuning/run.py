"""One fine-tuning run, from its configuration to `summary.json`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import lightning as L
import torch

from webtext_gpt.checkpoint.load import LoadedModel, empty_model, load, only_gpt
from webtext_gpt.cli import Call
from webtext_gpt.data.rows import plural
from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.baseline import NAME, word_baseline
from webtext_gpt.finetuning.classification import Classification
from webtext_gpt.finetuning.completion import Completion
from webtext_gpt.finetuning.data.datamodule import FinetuningData
from webtext_gpt.finetuning.data.examples import Examples, print_once
from webtext_gpt.finetuning.data.sequences import EncodedExamples
from webtext_gpt.finetuning.data.splits import check_labels, read_splits, warn_of_overlap
from webtext_gpt.finetuning.data.task import Task
from webtext_gpt.finetuning.metrics import METRICS
from webtext_gpt.finetuning.model import LoraSettings, choose_trained, load_body
from webtext_gpt.finetuning.module import FinetuningModule, Objective
from webtext_gpt.finetuning.report import run_sections
from webtext_gpt.model import GPT, GPTClassifier, language_model
from webtext_gpt.settings.finetune import EPOCHS, Finetune, Lora
from webtext_gpt.settings.lists import unescaped
from webtext_gpt.settings.task import Task as TaskSettings
from webtext_gpt.terminal import quoted, say
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.training.activation_checkpointing import recompute_activations
from webtext_gpt.training.batch import plan_examples
from webtext_gpt.training.distributed.launcher import rank_zero_reports_first
from webtext_gpt.training.length import before_decay, run_length
from webtext_gpt.training.memory import check_memory
from webtext_gpt.training.opening import Run, open_run
from webtext_gpt.training.precision import place_for_inference
from webtext_gpt.training.run import compose_trainer, conclude, fit, module_options
from webtext_gpt.training.start import refuse_other_start
from webtext_gpt.training.summary import Summary, progress_figures

RECIPE = ("layers", "dropout", "body_dropout", "lm_weight", "from_scratch")
"""Settings that a resumed run must not change."""


AHEAD = 0.02
"""By how much a baseline has to be better for a remark."""
PREFIXES = {"validation": "val", "test": "test"}
"""Prefix of the names of a split's figures."""


@dataclass(frozen=True)
class Finetuned:
    """The outcome of a run."""

    summary: Summary
    """Contents of `summary.json`; empty on ranks other than 0, and if there was nothing to do."""
    best: LoadedModel | None = None
    """The best checkpoint, placed for inference; `None` if the summary is empty."""


@rank_zero_reports_first()
def finetune(
    settings: Finetune, call: Call | None = None, start: LoadedModel | None = None
) -> Finetuned:
    """Fine-tune a model in a folder of its own.

    Args:
        settings: what to train, and how.
        call: the command line; None if the caller is other Python code.
        start: `settings.checkpoint`, if it is loaded already.

    Raises:
        UserError: a setting or the data cannot be used; nothing was trained or written to the
            run's folder. Or the loss was not finite.
        Stopped: training was interrupted; its state is saved.
    """
    with open_run(settings, call) as run:
        return _finetune(run, settings, start)


def _finetune(run: Run, settings: Finetune, start: LoadedModel | None) -> Finetuned:
    if run.state is not None:
        refuse_other_start(settings.checkpoint, run.folder)
    task = open_task(settings.task)
    train, validation, test = read_splits(task)
    measured = {"validation": validation} | ({} if test is None else {"test": test})
    objective = _objective(settings, task, train)
    for name, examples in measured.items():
        check_labels(examples, objective.labels, task)
        warn_of_overlap(train, examples, name)
    L.seed_everything(settings.seed, verbose=False)
    model, tokenizer = _model(run, settings, objective, start)
    new_tokens = choose_trained(
        model,
        settings.layers,
        _lora(settings.lora),
        settings.lm_weight,
        settings.train_new_tokens and not _froze_new_tokens(run, settings),
    )
    model.train()
    encoded, held_out = (objective.encode(model, tokenizer, split) for split in (train, validation))
    counts = {"skipped": train.skipped, "truncated": _truncated("training", encoded)}
    for name, examples in measured.items():
        split = held_out if name == "validation" else objective.encode(model, tokenizer, examples)
        prefix = PREFIXES[name]
        counts[f"{prefix}_skipped"] = examples.skipped
        counts[f"{prefix}_truncated"] = _truncated(name, split)
    lengths = encoded.sequences.lengths
    orders = encoded.sequences.tokens[0].ndim  # 2 if pairs are read in both orders
    plan = plan_examples(
        settings.batch_size,
        orders * int(lengths.max()),
        run.devices.count,
        settings.micro_batch_size,
    )
    body = language_model(model)
    check_memory(settings, body.config, body.num_parameters, plan, run.devices, run.parallelism)
    steps = _steps(settings, len(train))
    run = before_decay(run, run_length(run, plan.global_batch_size, steps))
    metric = METRICS[task.kind].get(_monitor(settings, task).removeprefix("val_"))
    trainer = compose_trainer(
        run,
        plan,
        validate_every=settings.validate_every or math.ceil(len(train) / plan.global_batch_size),
        max_steps=steps,
        monitor=_monitor(settings, task),
        lower_is_better=None if metric is None else metric.lower_is_better,
        notes=("batch_size", plan.global_batch_size / len(train)),
    )
    data = FinetuningData(
        encoded,
        held_out,
        global_batch_size=plan.global_batch_size,
        micro_batch_size=plan.micro_batch_size,
        pad=tokenizer.end_of_text,
        seed=settings.seed,
        num_workers=settings.num_workers,
    )
    module = objective.build_module(
        model,
        tokenizer,
        batch_size=plan.global_batch_size,
        truth=torch.from_numpy(held_out.targets),
        task=task.to_dict(),
        recipe={
            **{key: getattr(settings, key) for key in RECIPE},
            "task.class_weights": task.class_weights,
        },
        lora=_lora(settings.lora),
        new_tokens=new_tokens,
        **module_options(
            settings,
            corpus=encoded.sha256(),
            tokens_per_step=round(orders * float(lengths.mean()) * plan.global_batch_size),
            compile_model=settings.compile is True,  # not for `auto`: batches have many lengths
        ),
    )
    if settings.activation_checkpointing:
        recompute_activations(language_model(model))
    trained = fit(run, trainer, module, data, _plan_text(trainer, module, data))
    if not trained or not trainer.is_global_zero:
        return Finetuned({})
    best = load(run.folder)
    place_for_inference(best.model, settings.device, settings.precision)
    figures = _final_figures(run, objective, best, measured)
    summary = {
        "task": task.name,
        **figures,
        **_baseline(task, train, measured, figures),
        **progress_figures(trainer, module),
        "epochs": trainer.global_step * plan.global_batch_size / len(train),
        "trained_parameters": module.num_trained,
        "examples": len(train),
        **counts,
    }
    conclude(run, trainer, summary, run_sections(run.folder, list(measured)))
    return Finetuned(summary, best)


def open_task(settings: TaskSettings) -> Task:
    """Return the task that the settings choose.

    Raises:
        UserError: no task is chosen, or one of its keys is invalid.
    """
    if settings.target is None:
        raise UserError(
            "task has no value; give task=sst2 or another of conf/task, or for files of your own "
            "task=file task.train=FILE (columns: task.text=..., task.label=...)"
        )
    return Task(**{**settings.arguments(), "between": unescaped(settings.between)})


def _objective(settings: Finetune, task: Task, train: Examples) -> Objective:
    """Return the objective of the task's kind."""
    if task.kind == "completion":
        return Completion(
            task, score_limit=settings.score_limit, max_new_tokens=settings.max_new_tokens
        )
    return Classification(task, train, dropout=settings.dropout, lm_weight=settings.lm_weight)


def _model(
    run: Run, settings: Finetune, objective: Objective, start: LoadedModel | None
) -> tuple[GPT | GPTClassifier, Tokenizer]:
    """Return the model to train and its tokenizer.

    The weights of a resumed run are loaded later, with its optimizer.
    """
    if run.state is not None:
        state = {**run.state, "lora": None, "new_tokens": None}
        resumed = LoadedModel(*empty_model(state))
        model, tokenizer = only_gpt(resumed, run.folder), resumed.tokenizer
        labels = model.config.labels if isinstance(model, GPTClassifier) else ()
        if labels != objective.labels:
            raise UserError(
                f"the run to resume has {_listed_labels(labels)}, this call "
                f"{_listed_labels(objective.labels)}; start a new run"
            )
    else:
        if settings.checkpoint is None:
            raise UserError("checkpoint has no value; give checkpoint=RUN, of a pretrained model")
        body, tokenizer = load_body(
            settings.checkpoint,
            start,
            dropout=settings.body_dropout,
            from_scratch=settings.from_scratch,
        )
        model, tokenizer = objective.build_model(body, tokenizer)
    return model, tokenizer


def _froze_new_tokens(run: Run, settings: Finetune) -> bool:
    """Return whether the run to resume is of an earlier version, which froze the new tokens."""
    is_earlier = run.state is not None and "new_tokens" not in run.state
    return is_earlier and "train_new_tokens" not in settings.model_fields_set


def _listed_labels(labels: Sequence[str]) -> str:
    return f"the labels {', '.join(labels)}" if labels else "no labels"


def _lora(settings: Lora) -> LoraSettings | None:
    """Return the arguments of `add_lora`, or `None` if the model is not adapted."""
    if settings.rank is None:
        return None
    return {"rank": settings.rank, "alpha": settings.alpha, "dropout": settings.dropout}


def _steps(settings: Finetune, n: int) -> int | None:
    """Return the optimizer steps for `n` examples; `None` if the trainer's settings give them."""
    trainer, epochs = settings.trainer, settings.epochs
    if trainer.max_steps is not None or (epochs is None and trainer.max_minutes is not None):
        return None
    return max(1, math.ceil((epochs or EPOCHS) * n / settings.batch_size))


def _monitor(settings: Finetune, task: Task) -> str:
    """Return the metric that chooses the best checkpoint: by default the task's first."""
    checkpoints = settings.callbacks.checkpoints
    chosen = checkpoints.monitor if checkpoints is not None else None
    return chosen or f"val_{task.metrics[0]}"


def _final_figures(
    run: Run, objective: Objective, best: LoadedModel, measured: dict[str, Examples]
) -> dict[str, float]:
    """Measure the best checkpoint; names are `val_accuracy`, `test_accuracy` and so on."""
    figures: dict[str, float] = {}
    for name, examples in measured.items():
        found = objective.evaluate(best.model, best.tokenizer, examples, run.folder / name)
        figures |= {f"{PREFIXES[name]}_{metric}": value for metric, value in found.items()}
    return figures


def _baseline(
    task: Task,
    train: Examples,
    measured: dict[str, Examples],
    figures: dict[str, float],
) -> dict[str, float]:
    """Measure naive Bayes on the same rows, and print it beside the classifier's figures."""
    metric, found = task.metrics[0], {}
    for split, value in word_baseline(task, train, measured).items():
        prefix = PREFIXES[split]
        found[f"{prefix}_{NAME}_{metric}"] = value
        say(f"naive Bayes on words, {split}: {metric} {value:.4f}", label="beside")
        if split == "validation" and value - figures[f"{prefix}_{metric}"] > AHEAD:
            say(
                "which is better than the classifier; a body that has read more text of this kind "
                "helps most: pretrain on such texts, or begin from checkpoint=gpt2",
                label=" ",
            )
    return found


def _truncated(name: str, encoded: EncodedExamples) -> int:
    """Return how many rows of a split do not fit the context, and print it if there are any."""
    cut, rows = encoded.sequences.truncated, len(encoded.places)
    if cut:
        print_once(f"{cut:,} of the {rows:,} {name} rows do not fit the context and are truncated")
    return cut


def _plan_text(trainer: L.Trainer, module: FinetuningModule, data: FinetuningData) -> str:
    """Describe the run in a few lines."""
    n, steps = len(data.training.places), trainer.max_steps
    epochs = f", {plural(steps * module.batch_size / n, 'epoch')}," if steps > 0 else ""
    length = f"{steps:,} steps" if steps > 0 else "as many steps as fit the time"
    labels = module.model.config.labels if isinstance(module.model, GPTClassifier) else ()
    shown = ", ".join(labels[:8]) + (", ..." if len(labels) > 8 else "")
    return (
        f"model       {module.num_parameters:,} parameters, {module.num_trained:,} are trained\n"
        f"examples    {n:,} for training, {len(data.validation.places):,} for validation"
        f"{f'; {len(labels)} labels: {shown}' if labels else ''}\n"
        f"training    {length}{epochs} of {module.batch_size} examples, "
        f"{trainer.precision} on {trainer.world_size} {trainer.strategy.root_device.type}\n"
        f"run         {quoted(trainer.default_root_dir)}"
    )
