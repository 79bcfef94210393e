"""The work of `eval.py`: load a checkpoint, run benchmarks, write and print the results."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TypedDict

from webtext_gpt.checkpoint.load import LoadedModel, load, only_language_model
from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Benchmark, Measurement, Options, Result, Suite
from webtext_gpt.evaluation.confidence import suite_measurement
from webtext_gpt.evaluation.registry import select_benchmarks, select_suites
from webtext_gpt.evaluation.report import markdown, terminal
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.evaluation.tasks.music import MUSIC
from webtext_gpt.evaluation.tasks.parallel_text import TRANSLATION
from webtext_gpt.files import write_json, write_text
from webtext_gpt.model import GPT
from webtext_gpt.model.transformer import Transformer
from webtext_gpt.music.vocabulary import encoding_of
from webtext_gpt.paths import absence, check_output_folder, local_path, shown
from webtext_gpt.terminal import quoted, say, say_rows
from webtext_gpt.training.precision import place_for_inference, usable_device

RESULTS = "evaluation.json"
REPORT = "evaluation.md"

NEEDED = {TRANSLATION.name: "a translation model", MUSIC.name: "a model of music"}
"""Kinds of models that some tasks need instead of a language model."""
OTHERWISE = {
    TRANSLATION.name: "wmt14_en_fr asks a language model for translations",
    MUSIC.name: "data=midi and data=chorales train one",
}
"""Advice in the message about a language model that is given to such a task."""


class Evaluation(TypedDict):
    """Settings for evaluating a checkpoint; see `evaluate_checkpoint`."""

    tasks: Sequence[str]
    data_dir: str | None
    options: Options
    device: str
    precision: str
    weights: str
    batch_tokens: int
    stride: int | None


class FailedTasksError(UserError):
    """Some tasks could not be run; the others were."""


def evaluate_checkpoint(
    checkpoint: str,
    out: Path,
    *,
    tasks: str | Sequence[str],
    data_dir: str | None,
    options: Options,
    device: str,
    precision: str,
    weights: str = "float",
    batch_tokens: int,
    stride: int | None,
    measured: dict[str, Measurement] | None = None,
) -> None:
    """Evaluate a checkpoint, write the results to a folder and print them.

    The files are rewritten after each benchmark, so that results survive an interruption.

    Args:
        checkpoint: a run's folder, a `.ckpt` file, a Hugging Face folder or a hub name.
        out: folder for `evaluation.json` and `evaluation.md`.
        tasks: names of benchmarks, or `all`.
        data_dir: folder with the benchmarks' files. None loads them from the hub.
        options: see `Options`.
        device: `auto`, `cpu`, `cuda`, ...
        precision: `fp32`, `bf16` or `auto`.
        weights: see `place_for_inference`.
        batch_tokens: see `Scorer`.
        stride: see `Scorer`.
        measured: filled with the measurements by task, if given.

    Raises:
        UserError: the folder already contains an evaluation, an argument is invalid, or the
            checkpoint cannot be loaded.
        FailedTasksError: after all benchmarks: some of them could not be run.
    """
    check_output_folder(out, "run_dir")
    refuse_existing_evaluation(out)
    benchmarks = select_benchmarks(tasks)
    folder = None if data_dir is None else data_folder(data_dir)
    device = usable_device(device)
    loaded = load(checkpoint)
    model, tokenizer = fitting_model(loaded, checkpoint, benchmarks), loaded.tokenizer
    num_parameters = model.num_parameters  # before weights are rounded, and no longer parameters
    place_for_inference(model, device, precision, weights)
    scorer = Scorer(model, tokenizer, batch_tokens=batch_tokens, stride=stride)
    title = Path(checkpoint).name
    results: list[Result] = []
    try:
        for new_results in evaluate(
            scorer,
            benchmarks,
            select_suites(tasks),
            data_dir=folder,
            options=options,
            measured=measured,
        ):
            results.extend(new_results)
            write(results, out, title, num_parameters)
    finally:
        if results:
            say(terminal(results, title, num_parameters))
            print()
            say_rows({"written": quoted(out / RESULTS), "": quoted(out / REPORT)})


def evaluate(
    scorer: Scorer,
    benchmarks: Sequence[Benchmark],
    suites: Sequence[Suite] = (),
    *,
    data_dir: Path | None = None,
    options: Options | None = None,
    measured: dict[str, Measurement] | None = None,
) -> Iterator[list[Result]]:
    """Run benchmarks one after another and yield the results of each, then those of the suites.

    A benchmark whose data is missing or malformed is skipped and reported at the end. A suite
    with such a member has no figure.

    Args:
        scorer: the model.
        benchmarks: benchmarks to run.
        suites: suites to compute figures for; their members are among `benchmarks`.
        data_dir: folder with the benchmarks' files. None loads them from the hub.
        options: see `Options`. None means the defaults.
        measured: filled with the measurements by task, those of the suites too, if given.

    Raises:
        UserError: `data_dir` is not a folder.
        FailedTasksError: after all benchmarks: some of them could not be run; the message names
            each one and the reason.
    """
    options = options or Options()
    if data_dir is not None:
        data_folder(data_dir)
    measured = {} if measured is None else measured
    failed: dict[str, str] = {}
    seconds: dict[str, float] = {}
    for benchmark in benchmarks:
        start = time.perf_counter()
        scorer.cut_prompts = 0
        try:
            found = benchmark.run(scorer, data_dir, options)
            counts = {"cut_prompts": scorer.cut_prompts, **found.counts}
            measured[benchmark.name] = replace(found, counts=counts)
        except (UserError, OSError) as error:
            failed[benchmark.name] = str(error)
            continue
        seconds[benchmark.name] = time.perf_counter() - start
        yield _results(benchmark.name, measured[benchmark.name], seconds[benchmark.name])
    for suite in suites:
        names = [benchmark.name for benchmark in suite.benchmarks]
        missing = [name for name in names if name not in measured]
        if missing:
            failed[suite.name] = f"no figure without {', '.join(missing)}"
            continue
        measured[suite.name] = suite_measurement(suite, [measured[name] for name in names])
        yield _results(suite.name, measured[suite.name], sum(seconds[name] for name in names))
    if failed:
        listed = "\n".join(f"- {name}: {reason}" for name, reason in failed.items())
        n_tasks = len(benchmarks) + len(suites)
        raise FailedTasksError(f"{len(failed)} of {n_tasks} tasks could not be run:\n{listed}")


def fitting_model(
    loaded: LoadedModel, checkpoint: str, benchmarks: Sequence[Benchmark]
) -> GPT | Transformer:
    """Return the loaded model, if it is of the kind that the tasks need.

    Raises:
        UserError: a task is for models of another kind, or the model is a classifier.
    """
    model: GPT | Transformer
    if isinstance(loaded.model, Transformer):
        model, kind = loaded.model, "a translation model"
    else:
        model, kind = only_language_model(loaded, checkpoint), "a language model"
        if encoding_of(loaded.tokenizer) is not None:
            kind = "a model of music"
    for task in benchmarks:
        needed = NEEDED.get(task.name, "a language model")
        if needed != kind:
            own = [name for name, fitting in NEEDED.items() if fitting == kind]
            advice = f"give tasks=[{own[0]}]" if own else OTHERWISE[task.name]
            raise UserError(
                f"{checkpoint} holds {kind}, and the task {task.name} needs {needed}; {advice}"
            )
    return model


def _results(name: str, measured: Measurement, seconds: float) -> list[Result]:
    return [
        Result(
            name,
            metric,
            value,
            measured.examples,
            seconds,
            measured.standard_error(metric),
            measured.notes.get(metric, ""),
        )
        for metric, value in {**measured.metrics, **measured.counts}.items()
    ]


def data_folder(data_dir: str | Path) -> Path:
    """Return the folder with the benchmarks' files.

    Raises:
        UserError: it is not a folder, or does not exist.
    """
    folder = local_path(data_dir, "data_dir")
    if not folder.is_dir():
        problem = "but a file" if folder.exists() else f"it {absence(folder)}"
        raise UserError(
            f"data_dir={shown(data_dir)} is not a folder, {problem}; leave it out to load the "
            "benchmarks from the hub"
        )
    return folder


def refuse_existing_evaluation(out: Path) -> None:
    """Refuse to write into a folder that already contains an evaluation.

    Raises:
        UserError: the folder contains one.
    """
    if (out / RESULTS).exists():
        raise UserError(f"{out} already holds an evaluation; give another run_dir=...")


def write(results: Sequence[Result], out: Path, title: str, n_parameters: int) -> None:
    """Write `evaluation.json` and `evaluation.md`, each one atomically.

    Args:
        results: all results so far.
        out: output folder; created if it does not exist.
        title: the model's name in the report.
        n_parameters: the model's number of parameters, which selects the paper's model to
            compare with.
    """
    write_json(out / RESULTS, [_json_row(result) for result in results], indent=1)
    write_text(out / REPORT, markdown(results, title, n_parameters))


def _json_row(result: Result) -> dict[str, object]:
    """Return the result as a JSON object; infinity and NaN become null, no note is left out."""
    columns = {key: finite_or_none(value) for key, value in asdict(result).items()}
    if not result.note:
        del columns["note"]
    return columns


def finite_or_none(value: object) -> object:
    """Return None for infinity and NaN, which JSON lacks, and other values as they are."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
