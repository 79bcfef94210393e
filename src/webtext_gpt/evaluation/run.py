"""Several benchmarks on one model, and their figures in files."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Benchmark, Options, Result
from webtext_gpt.evaluation.report import markdown
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.files import write_json, write_text

RESULTS = "evaluation.json"
REPORT = "evaluation.md"


def evaluate(
    scorer: Scorer,
    benchmarks: Sequence[Benchmark],
    *,
    data_dir: Path | None = None,
    options: Options | None = None,
) -> Iterator[list[Result]]:
    """Run benchmarks one after another, yielding the figures of each.

    A benchmark without data, or with data that is not what it should be, is passed over and
    named at the end.

    Args:
        scorer: the model.
        benchmarks: those to run.
        data_dir: folder with the benchmarks' files; `None` loads them by `datasets` name.
        options: how they are run.

    Raises:
        UserError: after all others, naming the benchmarks that could not be run, and why.
    """
    options = options or Options()
    if data_dir is not None and not data_dir.is_dir():
        raise UserError(f"data_dir={data_dir} is no folder (looked from {Path.cwd()})")
    failed: dict[str, str] = {}
    for benchmark in benchmarks:
        start = time.perf_counter()
        try:
            measured = benchmark.run(scorer, data_dir, options)
        except (UserError, OSError) as error:
            failed[benchmark.name] = str(error)
            continue
        seconds = time.perf_counter() - start
        yield [
            Result(benchmark.name, metric, value, measured.examples, seconds)
            for metric, value in {**measured.metrics, **measured.counts}.items()
        ]
    if failed:
        listed = "\n".join(f"- {name}: {reason}" for name, reason in failed.items())
        raise UserError(f"{len(failed)} of {len(benchmarks)} tasks could not be run:\n{listed}")


def refuse_other_evaluation(out: Path) -> None:
    """Keep an evaluation from writing over another.

    Raises:
        UserError: the folder holds one.
    """
    if (out / RESULTS).exists():
        raise UserError(f"{out} already holds an evaluation; name another run_dir")


def write(results: Sequence[Result], out: Path, title: str, n_parameters: int) -> None:
    """Write `evaluation.json` and `evaluation.md`, each whole or not at all.

    Args:
        results: all figures so far.
        out: the folder.
        title: what the report calls the model.
        n_parameters: the model's, by which the paper's model beside it is chosen.
    """
    write_json(out / RESULTS, [_plain(result) for result in results], indent=1)
    write_text(out / REPORT, markdown(results, title, n_parameters))


def _plain(result: Result) -> dict[str, Any]:
    """The figure as JSON can hold it: one that is no number is null."""
    return {**asdict(result), "value": result.value if math.isfinite(result.value) else None}
