"""The command `eval.py compare=[A,B]`: two models on the same examples, with paired tests."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Unpack

from webtext_gpt.checkpoint.load import load
from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Measurement
from webtext_gpt.evaluation.command import (
    Evaluation,
    FailedTasksError,
    data_folder,
    evaluate_checkpoint,
    finite_or_none,
    fitting_model,
    refuse_existing_evaluation,
)
from webtext_gpt.evaluation.confidence import Difference, difference, suite_difference
from webtext_gpt.evaluation.registry import SUITES, select_benchmarks
from webtext_gpt.evaluation.report import format_value
from webtext_gpt.evaluation.tables import aligned, by_task, markdown_table, two_digits
from webtext_gpt.files import write_json, write_text
from webtext_gpt.paths import check_output_folder
from webtext_gpt.terminal import quoted, say, say_rows
from webtext_gpt.training.precision import usable_device

COMPARISON = "comparison.json"
REPORT = "comparison.md"
SIDES = ("A", "B")
SAME_TEXT = ("words", "bytes", "characters")
"""Counts of a text that do not depend on the tokenizer."""

OF_TOKENIZER = ("token", "note")
"""Units that depend on the tokenizer; encodings of music differ in what they count as a note."""


@dataclass(frozen=True)
class Row:
    """A figure of both models; `note` says why the difference or the test is missing."""

    task: str
    metric: str
    a: float
    b: float
    examples: int
    difference: Difference | None
    note: str = ""


def compare_checkpoints(
    checkpoints: tuple[str, str],
    out: Path,
    **how: Unpack[Evaluation],
) -> None:
    """Evaluate two checkpoints, one after the other, and write and print their differences.

    `out` receives `comparison.json` and `comparison.md`; its folders `A` and `B` receive each
    checkpoint's own results.

    Args:
        checkpoints: A and B, as in `evaluate_checkpoint`.
        out: output folder.
        how: as in `evaluate_checkpoint`.

    Raises:
        UserError: as `evaluate_checkpoint`, before anything is written. At the end: tasks that
            could not be run, by checkpoint.
    """
    check_output_folder(out, "run_dir")
    for folder in (out, *(out / side for side in SIDES)):
        refuse_existing_evaluation(folder)
    if (out / COMPARISON).exists():
        raise UserError(f"{out} already holds a comparison; give another run_dir=...")
    benchmarks = select_benchmarks(how["tasks"])
    usable_device(how["device"])
    if how["data_dir"] is not None:
        data_folder(how["data_dir"])
    tokenizers = set()
    for checkpoint in checkpoints:
        loaded = load(checkpoint)
        fitting_model(loaded, checkpoint, benchmarks)
        tokenizers.add(loaded.tokenizer.hash)
    measured: dict[str, dict[str, Measurement]] = {side: {} for side in SIDES}
    failures = []
    for side, checkpoint in zip(SIDES, checkpoints, strict=True):
        print(f"--- {side}: {quoted(checkpoint)}\n")
        try:
            evaluate_checkpoint(
                checkpoint,
                out / side,
                **how,
                measured=measured[side],
            )
        except FailedTasksError as error:
            failures.append(f"{side}, {checkpoint}: {error}")
        print()
    rows = differences(measured["A"], measured["B"], same_tokenizer=len(tokenizers) == 1)
    if rows:
        write_comparison(rows, checkpoints, len(tokenizers) == 1, out)
        print("--- A and B\n")
        _, *figures = table(rows)
        heads = ["task", "metric", "A", "B", "B - A", "\N{PLUS-MINUS SIGN}error", "p"]
        print(aligned(by_task([heads, *(cells[:-2] for cells in figures)])))
        print(f"\np is two-sided, of the paired test that {REPORT} names.")
        if remarks := notes(rows):
            say(f"\n{remarks}")
        if how_computed := signatures(rows):
            say(f"\n{how_computed}")
        if len(tokenizers) > 1:
            say(f"\n{OTHER_TOKENIZERS}")
        print()
        say_rows({"written": quoted(out / COMPARISON), "": quoted(out / REPORT)})
    if failures:
        raise UserError("\n".join(failures))


OTHER_TOKENIZERS = (
    "The checkpoints have different tokenizers: figures per word, byte and choice are compared, "
    "figures per token and note are not."
)


def differences(
    a: Mapping[str, Measurement], b: Mapping[str, Measurement], *, same_tokenizer: bool
) -> list[Row]:
    """Return every figure of the tasks that both models were measured on."""
    return [
        _row(task, metric, a, b, same_tokenizer)
        for task in a
        if task in b
        for metric in a[task].metrics
    ]


def _row(
    task: str,
    metric: str,
    a: Mapping[str, Measurement],
    b: Mapping[str, Measurement],
    same_tokenizer: bool,
) -> Row:
    ours, theirs = a[task], b[task]
    found: Difference | None = None
    note = ""
    unit = next((unit for unit in OF_TOKENIZER if unit in metric.split("_")), None)
    if not same_tokenizer and unit is not None:
        note = f"per {unit}, with different tokenizers"
    elif ours.examples != theirs.examples and _sizes(ours) == {}:
        note = "different numbers of examples"
    elif _sizes(ours) != _sizes(theirs):
        note = "different texts: limit= counts windows of the model's context"
    elif task in SUITES:
        members = [benchmark.name for benchmark in SUITES[task].benchmarks]
        pairs = [a[name] for name in members], [b[name] for name in members]
        found = suite_difference(SUITES[task], *pairs, metric)
    else:
        found = difference(ours, theirs, metric)
    if found is not None and found.p_value is None:
        note = "no test: fewer than two examples, or not a mean over them"
    return Row(
        task, metric, ours.metrics[metric], theirs.metrics[metric], ours.examples, found, note
    )


def _sizes(measurement: Measurement) -> dict[str, int]:
    return {name: measurement.counts[name] for name in SAME_TEXT if name in measurement.counts}


def table(rows: list[Row]) -> list[list[str]]:
    """Return the report's table, its header first."""
    lines = [["task", "metric", "A", "B", "B - A", "standard error", "p", "test", "note"]]
    for row in rows:
        found = row.difference
        cells = [row.task, row.metric, format_value(row.a), format_value(row.b)]
        if found is None:
            cells += ["-"] * 4
        else:
            error, p_value = found.standard_error, found.p_value
            cells += [
                format_value(found.value),
                "-" if error is None else two_digits(error),
                "-" if p_value is None else "<0.0001" if p_value < 1e-4 else f"{p_value:.4f}",
                found.test or "-",
            ]
        lines.append([*cells, row.note])
    return lines


def notes(rows: list[Row]) -> str:
    """Return a line for each note, with the figures that it is on, or an empty text."""
    noted: dict[str, dict[str, str]] = {}
    for row in rows:
        if row.note:
            metrics = noted.setdefault(row.note, {})
            before = metrics.get(row.task)
            metrics[row.task] = (
                f"{row.task} {row.metric}" if not before else f"{before}, {row.metric}"
            )
    return "\n".join(f"- {'; '.join(tasks.values())}: {note}" for note, tasks in noted.items())


def signatures(rows: list[Row]) -> str:
    """Return a line for each figure with a signature, or an empty text."""
    return "\n".join(
        f"- {row.task} {row.metric}: {row.difference.signature}"
        for row in rows
        if row.difference is not None and row.difference.signature
    )


def write_comparison(
    rows: list[Row], checkpoints: tuple[str, str], same_tokenizer: bool, out: Path
) -> None:
    """Write `comparison.json` and `comparison.md`, each one atomically."""
    figures = []
    for row in rows:
        found = asdict(row.difference or Difference(float("nan")))
        found["difference"] = found.pop("value")
        columns = {**asdict(row), **found}
        figures.append({key: finite_or_none(value) for key, value in columns.items()})
    by_side = dict(zip(SIDES, checkpoints, strict=True))
    head = {"checkpoints": by_side, "same_tokenizer": same_tokenizer}
    write_json(out / COMPARISON, {**head, "figures": figures}, indent=1)
    named = "\n".join(f"- {side}: {checkpoint}" for side, checkpoint in by_side.items())
    remark = "" if same_tokenizer else f"{OTHER_TOKENIZERS}\n\n"
    signed = f"{signatures(rows)}\n\n".lstrip()
    write_text(
        out / REPORT,
        f"# Comparison of two checkpoints\n\n{named}\n\n{remark}{markdown_table(table(rows))}\n\n"
        f"{signed}"
        "p is two-sided, from the paired test named beside it, and not corrected for the number of "
        "figures.\n",
    )
