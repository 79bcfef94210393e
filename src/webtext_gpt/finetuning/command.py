"""What one call of `finetune.py` asks for: training, several seeds, predictions, measurements."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from webtext_gpt.checkpoint.load import LoadedModel, load
from webtext_gpt.data.rows import plural
from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.data.examples import check_labels, iter_texts, read_file
from webtext_gpt.finetuning.data.task import Task
from webtext_gpt.finetuning.labelled import report_examples
from webtext_gpt.finetuning.predict import TextClassifier, check_out, predict_file
from webtext_gpt.finetuning.run import finetune, open_task
from webtext_gpt.finetuning.seeds import finetune_seeds
from webtext_gpt.model import GPTClassifier
from webtext_gpt.training.precision import place_for_inference
from webtext_gpt.training.run import AUTO
from webtext_gpt.training.run_folder import reopen, save_summary
from webtext_gpt.training.summary import Summary


def carry_out_call(cfg: DictConfig, overrides: Sequence[str] = ()) -> Summary:
    """Do what a configuration asks for.

    A saved classifier as `checkpoint` with `predict` or `evaluate` is put to work; everything else
    is training, after which those are done with what was trained.

    Args:
        cfg: as `conf/finetune.yaml` composes it.
        overrides: this call's `key=value` arguments.

    Returns:
        The figures found.

    Raises:
        UserError: see `finetune`; or what is asked for does not go together, or cannot be read.
        Stopped: training was interrupted, and is saved.
    """
    full = cfg
    if cfg.resume and cfg.resume != AUTO:
        full = reopen(Path(cfg.run_dir), overrides, cfg)
    works = full.predict is not None or full.evaluate is not None
    if full.out is not None and full.predict is None:
        raise UserError(f"out={full.out} is for the labels of predict=FILE")
    if full.predict is not None:
        check_out(_out(full))
    if works and not cfg.resume:
        if cfg.checkpoint is None:
            raise UserError("checkpoint has no value; give checkpoint=RUN")
        loaded = load(cfg.checkpoint)
        if isinstance(loaded.model, GPTClassifier):
            return use_classifier(cfg, cfg.checkpoint, loaded.model, loaded)
        if "_target_" not in cfg.task:
            raise UserError(
                f"checkpoint={cfg.checkpoint} is a language model, no classifier; give task=... to "
                "train one first"
            )
    if full.seeds is not None:
        if works:
            raise UserError("predict and evaluate are for one classifier; leave seeds out")
        return finetune_seeds(_resumed(full, cfg))
    if works:
        _check_files(full)
    summary = finetune(cfg, overrides)
    if summary:
        _print(cfg.run_dir, summary)
    if works and rank_zero_only.rank == 0:
        loaded = load(cfg.run_dir)
        assert isinstance(loaded.model, GPTClassifier)  # noqa: S101 - `_check_files` saw the task
        summary |= use_classifier(full, cfg.run_dir, loaded.model, loaded)
    return summary


def use_classifier(
    cfg: DictConfig, checkpoint: str, model: GPTClassifier, loaded: LoadedModel
) -> Summary:
    """Measure a saved classifier on the file `cfg.evaluate`, label the texts of `cfg.predict`.

    The columns are those that the classifier was trained on, changed by `cfg.task`.

    Args:
        cfg: as `conf/finetune.yaml` composes it.
        checkpoint: of the classifier.
        model: what it holds.
        loaded: the same, with its tokenizer and task.

    Returns:
        The figures of `cfg.evaluate`.

    Raises:
        UserError: a file cannot be read or written.
    """
    place_for_inference(model, cfg.device, cfg.precision)
    classifier = TextClassifier(model, loaded.tokenizer)
    task = _task_of(cfg, checkpoint, classifier, loaded.task)
    figures: Summary = {}
    if cfg.evaluate is not None:
        examples = read_file(task, cfg.evaluate)
        check_labels(examples, classifier.labels, task)
        out = Path(cfg.run_dir) / "evaluation"
        figures = {**report_examples(classifier, examples, out, positive=task.positive)}
        save_summary({"checkpoint": str(checkpoint), "file": cfg.evaluate, **figures}, out)
        print(f"\nwritten to {out}")
    if cfg.predict is not None:
        before = classifier.truncated
        rows = predict_file(classifier, iter_texts(task, cfg.predict), _out(cfg))
        print(f"{plural(rows)} with their labels: {_out(cfg)}")
        if cut := classifier.truncated - before:
            print(f"{cut:,} of them do not fit the model's context, and were cut")
    return figures


def _resumed(full: DictConfig, cfg: DictConfig) -> DictConfig:
    """The configuration of seeds that may have been begun before."""
    return OmegaConf.merge(full, {"resume": cfg.resume})  # type: ignore[return-value]


def _check_files(cfg: DictConfig) -> None:
    """Read what is asked for after training, as far as it can be read before.

    Raises:
        UserError: a file is not there or lacks a column; or the task makes no classifier.
    """
    task = open_task(cfg)
    if task.kind == "pairs":
        raise UserError(
            "predict and evaluate are for classifiers; python generate.py prompts=FILE writes "
            "completions, and task.test=FILE measures them"
        )
    if cfg.evaluate is not None:
        read_file(task, cfg.evaluate)
    if cfg.predict is not None:
        next(iter(iter_texts(task, cfg.predict)), None)


def _task_of(
    cfg: DictConfig,
    checkpoint: str,
    classifier: TextClassifier,
    saved: dict[str, Any] | None,
) -> Task:
    """The task that names the columns: this call's, or that of the classifier's training.

    Keys of a task without a name, as `task.text=review`, change the saved one.
    """
    if "_target_" in cfg.task:
        task = instantiate(cfg.task)
    else:
        if saved is None and not cfg.task:
            raise UserError(
                f"{checkpoint} does not say which columns it reads; give task=file task.text=... "
                "(task.text_pair=..., task.label=...)"
            )
        changes: dict[str, Any] = {str(key): value for key, value in cfg.task.items()}
        try:
            task = Task(**{"name": "file", **(saved or {}), **changes})
        except TypeError as error:
            raise UserError(f"task: {error}") from error
    if (task.kind == "regression") != (len(classifier.labels) == 1) or task.kind == "pairs":
        raise UserError(f"task.kind={task.kind} does not fit the classifier in {checkpoint}")
    return task


def _out(cfg: DictConfig) -> Path:
    return Path(cfg.out or f"{cfg.run_dir}/predictions.csv").expanduser()


def _print(run_dir: str, summary: Summary) -> None:
    figures = {k: v for k, v in summary.items() if k.startswith(("val_", "test_"))}
    width = max(map(len, figures))
    print(f"\n--- {summary['task']} after {summary['step']:,} steps, {summary['seconds']:,.0f} s")
    for name, value in figures.items():
        print(f"{name:{width}}  {value:.4f}")
    print(f"run    {run_dir}\n")
