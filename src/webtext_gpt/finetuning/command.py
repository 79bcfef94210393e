"""The work of `finetune.py`: train a model, use a saved classifier, or both in turn.

Lightning is imported only when a model is trained.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webtext_gpt.checkpoint.load import LoadedModel, load, only_gpt
from webtext_gpt.cli import Call
from webtext_gpt.commands import shell_command
from webtext_gpt.data.rows import plural
from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.data.examples import column_names, iter_texts, read_file
from webtext_gpt.finetuning.data.rows import csv_style
from webtext_gpt.finetuning.data.splits import check_labels, warn_of_trained
from webtext_gpt.finetuning.data.task import Task
from webtext_gpt.finetuning.predict import (
    TextClassifier,
    check_out,
    output_names,
    predict_file,
)
from webtext_gpt.finetuning.report import CONFUSION, REPORT, SCATTER, report_examples
from webtext_gpt.model import GPTClassifier
from webtext_gpt.paths import local_path
from webtext_gpt.settings.finetune import Finetune
from webtext_gpt.settings.task import Task as TaskSettings
from webtext_gpt.terminal import quoted, say, say_rows
from webtext_gpt.training.precision import place_for_inference
from webtext_gpt.training.run_folder import read_summary, save_summary

if TYPE_CHECKING:
    from webtext_gpt.training.summary import Summary


def run_command(settings: Finetune, call: Call | None = None) -> "Summary":
    """Train a model, use a saved classifier, or both, as the settings say.

    If `checkpoint` is a saved classifier and `predict` or `evaluate` is set, the classifier is
    used. Otherwise a model is trained, then used if one of these is set.

    Args:
        settings: what to train or to use, and how.
        call: the command line; None if the caller is other Python code.

    Returns:
        The summary of training, and the figures of `evaluate`.

    Raises:
        UserError: see `finetune`; or settings contradict each other, or a file cannot be read.
        Stopped: training was interrupted; its state is saved.
    """
    uses_classifier = settings.predict is not None or settings.evaluate is not None
    if settings.predict is not None:
        check_out(_out(settings))
    elif settings.out is not None:
        raise UserError(f"out={settings.out} is for the labels of predict=FILE")
    start = None
    if uses_classifier and not settings.resume:
        if settings.checkpoint is None:
            raise UserError("checkpoint has no value; give checkpoint=RUN")
        start = load(settings.checkpoint)
        if isinstance(only_gpt(start, settings.checkpoint), GPTClassifier):
            return _use_classifier(settings, settings.checkpoint, start)
        if settings.task.target is None:
            raise UserError(
                f"checkpoint={settings.checkpoint} is a language model, not a classifier; give "
                "task=... to train one first"
            )
    if settings.seeds is not None:
        if uses_classifier:
            raise UserError("predict and evaluate need a single classifier; leave seeds out")
        from webtext_gpt.finetuning.seeds import finetune_seeds

        return finetune_seeds(settings)
    return _train(settings, call, start, uses_classifier)


def _train(
    settings: Finetune, call: Call | None, start: LoadedModel | None, uses_classifier: bool
) -> "Summary":
    """Train a model, and use it if `uses_classifier` is set."""
    from lightning.pytorch.utilities.rank_zero import rank_zero_only

    from webtext_gpt.finetuning.run import finetune, open_task

    if uses_classifier:
        _check_files(open_task(settings.task), settings.evaluate, settings.predict, _out(settings))
    finetuned = finetune(settings, call, start)
    summary = finetuned.summary
    if summary:
        _print_summary(settings.run_dir, summary)
    if uses_classifier and rank_zero_only.rank == 0:
        best = finetuned.best or load(settings.run_dir)
        summary = summary | _use_classifier(settings, settings.run_dir, best)
    return summary


def _check_files(task: Task, evaluate: str | None, predict: str | None, out: Path) -> None:
    """Check the files to be used after training before training starts.

    Raises:
        UserError: a file does not exist or lacks a column, or its columns leave no names for those
            of `out`; or the task does not make a classifier.
    """
    if task.kind == "completion":
        raise UserError(
            "predict and evaluate are for classifiers; python generate.py prompts=FILE writes "
            "completions, and task.test=FILE measures them"
        )
    if evaluate is not None:
        read_file(task, evaluate)
    if predict is not None:
        next(iter(iter_texts(task, predict)), None)
        output_names(column_names(task, predict), ("", ""), out)


def _use_classifier(settings: Finetune, checkpoint: str, loaded: LoadedModel) -> dict[str, float]:
    """Measure a classifier on the file `evaluate`, and label the texts of `predict`.

    Args:
        settings: name the files, the device and the precision; `task` may replace the columns that
            the classifier was trained on.
        checkpoint: path that the classifier was loaded from.
        loaded: the classifier.

    Returns:
        The figures of `evaluate`; empty without it.

    Raises:
        UserError: a file cannot be read or written, or the task does not fit the classifier.
    """
    assert isinstance(loaded.model, GPTClassifier)  # noqa: S101 - callers have checked it
    place_for_inference(loaded.model, settings.device, settings.precision)
    _warn_of_unfinished(Path(checkpoint))
    classifier = TextClassifier(loaded.model, loaded.tokenizer)
    task = _task(settings.task, checkpoint, loaded.task)
    if (task.kind == "regression") != (len(classifier.labels) == 1) or task.kind == "completion":
        raise UserError(f"task.kind={task.kind} does not fit the classifier in {checkpoint}")
    figures: dict[str, float] = {}
    if settings.evaluate is not None:
        out = Path(settings.run_dir) / "evaluation"
        trained = Task(**loaded.task) if loaded.task is not None else None
        figures = evaluate_file(classifier, task, settings.evaluate, out, trained)
        save_summary({"checkpoint": str(checkpoint), "file": settings.evaluate, **figures}, out)
        print()
        say_rows({"written": quoted(out)})
    if settings.predict is not None:
        label_file(classifier, task, settings.predict, _out(settings))
        if settings.out is None:  # otherwise the command line names it
            say_rows({"written": quoted(_out(settings))})
    return figures


def _warn_of_unfinished(run: Path) -> None:
    if (run / "checkpoints").is_dir() and not read_summary(run):
        go_on = shell_command("finetune", f"resume={run}")
        say(
            f"warning: {quoted(run)} has not been trained to its end, and its best checkpoint so "
            f"far is used; this goes on with it: {go_on}",
            sys.stderr,
        )


def evaluate_file(
    classifier: TextClassifier,
    task: Task,
    file: str | Path,
    out: Path,
    trained: Task | None = None,
) -> dict[str, float]:
    """Measure a classifier on a file of labeled rows; write the report into a folder.

    Args:
        classifier: the classifier.
        task: names the columns and the format.
        file: the labeled rows.
        out: the report's folder.
        trained: the task that the classifier was trained on, for a warning about rows of it.

    Returns:
        The figures, and the numbers of rows that were skipped and truncated.

    Raises:
        UserError: the file cannot be read, or has a label that the classifier does not know.
    """
    examples = read_file(task, file)
    check_labels(examples, classifier.labels, task)
    if trained is not None:
        warn_of_trained(trained, examples, str(file))
    before = classifier.truncated
    figures = report_examples(
        classifier, examples, out, positive=task.positive, class_names=task.class_names
    )
    cut = classifier.truncated - before
    if cut:
        rows = f"{cut:,} of the {plural(len(examples))}"
        say(f"{rows} do not fit the context and are truncated", label="data")
    return {**figures, "skipped": examples.skipped, "truncated": cut}


def label_file(classifier: TextClassifier, task: Task, file: str | Path, out: Path) -> None:
    """Write the labels of a file's texts to `out`, and print how many there are.

    Raises:
        UserError: the file cannot be read, or `out` cannot be written.
    """
    before = classifier.truncated
    columns = column_names(task, file)
    names = output_names(columns, classifier.labels, out)
    if renamed := [name for name in names if name.removeprefix("predicted_") in columns]:
        say(
            f"{file} has {'a column' if len(renamed) == 1 else 'columns'} of the same name, so "
            f"predictions are in {', '.join(renamed)}",
            label="data",
        )
    rows = predict_file(classifier, iter_texts(task, file), out, columns, csv_style(task, file))
    say(f"{plural(rows)} with their labels")
    if cut := classifier.truncated - before:
        say(f"{cut:,} of them do not fit the model's context and were truncated")


def _task(settings: TaskSettings, checkpoint: str, saved: dict[str, Any] | None) -> Task:
    """Return the task that names the columns: this call's, or else the one trained on.

    Args:
        settings: a task; or, without a choice, keys that change the saved one, such as `text`.
        checkpoint: path of the classifier, for messages.
        saved: the task that the classifier was trained on, if it is known.
    """
    if settings.target is not None:
        return Task(**settings.arguments())
    changes = {key: getattr(settings, key) for key in settings.model_fields_set}
    if saved is None and not changes:
        raise UserError(
            f"{checkpoint} does not say which columns it reads; give task=file task.text=... "
            "(task.text_pair=..., task.label=...)"
        )
    return Task(**{"name": "file", **(saved or {}), **changes})


def _out(settings: Finetune) -> Path:
    return local_path(settings.out or f"{settings.run_dir}/predictions.csv")


def _print_summary(run_dir: str, summary: "Summary") -> None:
    """Print the figures that no table has shown yet, the files of the run, and what to do next."""
    from webtext_gpt.finetuning.run import PREFIXES

    folder = Path(run_dir)
    say(f"\n--- after {plural(summary['step'], 'step')}, {summary['seconds']:,.0f} s")
    rows: dict[str, str] = {}
    files = {"run": folder, "loss curve": folder / "loss.png", "report": folder / "report.html"}
    for split, prefix in PREFIXES.items():
        if (folder / split / REPORT).exists():
            files[f"{split} report"] = folder / split / REPORT
            for picture in (CONFUSION, SCATTER):
                files[f"{split} picture"] = folder / split / picture
                if files[f"{split} picture"].exists():
                    break
            continue
        rows |= {
            name: f"{value:.4f}"
            for name, value in summary.items()
            if name.startswith(f"{prefix}_") and not isinstance(value, int)
        }
    checkpoint = f"checkpoint={run_dir}"
    if rows:  # prompts and completions, which have no report
        try_it = shell_command("generate", checkpoint, "prompt=...")
    else:
        try_it = shell_command("finetune", checkpoint, "predict=FILE", "out=labels.csv")
    commands = {"try it": try_it, "look inside": shell_command("serve", checkpoint)}
    say_rows(rows | {label: quoted(path) for label, path in files.items()} | commands)
