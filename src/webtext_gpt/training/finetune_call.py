"""What one call of `finetune.py` asks for: training, several seeds, predictions, measurements."""

import json
from collections.abc import Sequence
from pathlib import Path

from hydra.utils import instantiate
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from omegaconf import DictConfig

from webtext_gpt.checkpoint import saved_task
from webtext_gpt.checks import whole_number
from webtext_gpt.data.examples import check_labels, iter_texts, read_file
from webtext_gpt.data.task import Task
from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.labelled import report_examples
from webtext_gpt.evaluation.seeds import mean_and_deviation, seeds_table
from webtext_gpt.model import GPTClassifier
from webtext_gpt.prediction import TextClassifier, check_out, predict_file
from webtext_gpt.training.compose import AUTO
from webtext_gpt.training.devices import find_devices
from webtext_gpt.training.finetune_run import finetune
from webtext_gpt.training.hardware import place_for_inference
from webtext_gpt.training.run_dir import (
    SUMMARY,
    refuse_other_run,
    reopen,
    save_config,
    save_summary,
)
from webtext_gpt.training.summary import Summary
from webtext_gpt.weights.convert import read_any


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
        UserError: see `finetune`; or there is nothing to be done it with.
    """
    works = cfg.predict is not None or cfg.evaluate is not None
    if works and not cfg.resume and _is_classifier(cfg.checkpoint):
        return use_classifier(cfg, cfg.checkpoint)
    if cfg.predict is not None:
        check_out(_out(cfg))
    if cfg.resume and cfg.resume != AUTO:
        saved = reopen(Path(cfg.run_dir), overrides, cfg)
        cfg = saved if saved.seeds is not None else cfg
    if cfg.seeds is not None:
        if works:
            raise UserError("predict and evaluate are for one classifier; leave seeds out")
        return finetune_seeds(cfg)
    summary = finetune(cfg, overrides)
    if summary:
        _print(cfg.run_dir, summary)
    if works and rank_zero_only.rank == 0:
        summary |= use_classifier(cfg, cfg.run_dir)
    return summary


def finetune_seeds(cfg: DictConfig) -> Summary:
    """A run for each of `cfg.seeds`, in folders of their own; finished ones are not run again.

    Returns:
        Mean and deviation of every figure, which `summary.json` holds beside each seed's.

    Raises:
        UserError: see `finetune`; or the seeds are no whole numbers, or several processes train.
    """
    seeds = list(cfg.seeds)
    for seed in seeds:
        whole_number("seeds", seed, 0)
    if not seeds or len(set(seeds)) < len(seeds):
        raise UserError(f"seeds={seeds} must name each seed once")
    if find_devices(cfg.trainer).count > 1:
        raise UserError(
            "seeds=[...] trains with one process at a time; set trainer.devices=1, or start each "
            "run by itself with seed=... and run_dir=..."
        )
    folder = Path(cfg.run_dir)
    if not cfg.resume:
        refuse_other_run(folder)
    save_config(cfg, folder)
    summaries: dict[int, Summary] = {}
    for seed in seeds:
        of_seed = cfg.copy()
        of_seed.update(
            {"seed": seed, "seeds": None, "resume": AUTO, "run_dir": str(folder / f"seed-{seed}")}
        )
        file = Path(of_seed.run_dir) / SUMMARY
        if not file.is_file():
            print(f"\n--- seed {seed}", flush=True)
            finetune(of_seed)
        summaries[seed] = json.loads(file.read_text())
    figures = mean_and_deviation(summaries)
    shown = [name for name in figures if name.startswith(("val_", "test_"))]
    print(f"\n{seeds_table(summaries, shown)}\n\nwritten to {folder / SUMMARY}", flush=True)
    summary = {"mean_and_deviation": figures, "seeds": {str(s): v for s, v in summaries.items()}}
    save_summary(summary, folder)
    return summary


def use_classifier(cfg: DictConfig, checkpoint: str) -> Summary:
    """Measure a saved classifier on the file `cfg.evaluate`, label the texts of `cfg.predict`.

    The columns are those of `cfg.task`, or else those that the classifier was trained on.

    Returns:
        The figures of `cfg.evaluate`.

    Raises:
        UserError: the checkpoint is no classifier; or a file cannot be read or written.
    """
    model, tokenizer = read_any(checkpoint)
    if not isinstance(model, GPTClassifier):
        raise UserError(
            f"{checkpoint} holds a language model, not a classifier; python generate.py "
            f"checkpoint={checkpoint} prompts=FILE writes completions"
        )
    place_for_inference(model, cfg.device, cfg.precision)
    classifier = TextClassifier(model, tokenizer)
    task = _task_of(cfg, checkpoint, classifier)
    figures: Summary = {}
    if cfg.evaluate is not None:
        examples = read_file(task, cfg.evaluate)
        check_labels(examples, classifier.labels, task)
        out = Path(cfg.run_dir) / "evaluation"
        figures = {**report_examples(classifier, examples, out, positive=task.positive)}
        save_summary({"checkpoint": str(checkpoint), "file": cfg.evaluate, **figures}, out)
        print(f"\nwritten to {out}")
    if cfg.predict is not None:
        out = _out(cfg)
        rows = predict_file(classifier, iter_texts(task, cfg.predict), out)
        print(f"{rows:,} rows with their labels are in {out}")
    if classifier.truncated:
        print(f"{classifier.truncated:,} texts are longer than the model's context and were cut")
    return figures


def _task_of(cfg: DictConfig, checkpoint: str, classifier: TextClassifier) -> Task:
    """The task that names the columns: this call's, or that of the classifier's training."""
    if cfg.get("task") is not None:
        task = instantiate(cfg.task)
    elif (saved := saved_task(checkpoint)) is not None:
        task = Task(**saved)
    else:
        raise UserError(
            f"{checkpoint} does not say which columns it reads; give task=file task.text=... "
            "(task.text_pair=..., task.label=...)"
        )
    if (task.kind == "regression") != (len(classifier.labels) == 1) or task.kind == "pairs":
        raise UserError(f"task.kind={task.kind} does not fit the classifier in {checkpoint}")
    return task


def _is_classifier(checkpoint: str | None) -> bool:
    if checkpoint is None:
        raise UserError("checkpoint has no value; give checkpoint=RUN")
    return isinstance(read_any(checkpoint)[0], GPTClassifier)


def _out(cfg: DictConfig) -> Path:
    return Path(cfg.out or f"{cfg.run_dir}/predictions.csv").expanduser()


def _print(run_dir: str, summary: Summary) -> None:
    figures = {k: v for k, v in summary.items() if k.startswith(("val_", "test_"))}
    width = max(map(len, figures))
    print(f"\n--- {summary['task']} after {summary['step']:,} steps, {summary['seconds']:,.0f} s")
    for name, value in figures.items():
        print(f"{name:{width}}  {value:.4f}")
    print(f"run    {run_dir}\n")
