"""Perplexity on training and held-out text by model size: the paper's figure 4.

Where the two fall together as models grow, the models still underfit their corpus.
"""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from webtext_gpt.errors import UserError
from webtext_gpt.files import replaced, write_text

LAST_SHARE = 0.1
"""Training perplexity is that of the last steps, each batch scored before it is learned from."""


@dataclass(frozen=True)
class Fit:
    """What one run reached."""

    run: str
    parameters: int
    train_perplexity: float
    val_perplexity: float


def read_fit(run_dir: Path) -> Fit:
    """The figures of a finished run.

    Raises:
        UserError: the folder holds none.
    """
    summary_file, metrics_file = run_dir / "summary.json", run_dir / "metrics.csv"
    for file in (summary_file, metrics_file):
        if not file.is_file():
            raise UserError(f"{run_dir} has no {file.name}; name folders of finished runs")
    try:
        summary = json.loads(summary_file.read_text(encoding="utf-8"))
        with metrics_file.open(newline="", encoding="utf-8") as stream:
            rows = [row for row in csv.DictReader(stream) if row.get("train_loss")]
        steps = max(float(row["step"]) for row in rows)
        late = [row for row in rows if float(row["step"]) > steps * (1 - LAST_SHARE)]
        last = [float(row["train_loss"]) for row in late]
        return Fit(
            run=run_dir.name,
            parameters=int(summary["parameters"]),
            train_perplexity=math.exp(sum(last) / len(last)),
            val_perplexity=float(summary["val_perplexity"]),
        )
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{run_dir} does not hold a finished run's figures: {type(error).__name__} {error}"
        ) from error


def write_scaling_report(runs: Sequence[Path], out: Path) -> str:
    """Write `scaling.md` and `scaling.png` from several runs, smallest model first.

    Returns:
        The table in `scaling.md`.

    Raises:
        UserError: a folder holds no finished run, or there are fewer than two.
    """
    if len(runs) < 2:
        raise UserError(f"report= needs two runs or more, not {len(runs)}")
    fits = sorted((read_fit(run) for run in runs), key=lambda fit: fit.parameters)
    out.mkdir(parents=True, exist_ok=True)
    lines = ["| run | parameters | train perplexity | held-out perplexity |", "|---|---|---|---|"]
    lines += [
        f"| {f.run} | {f.parameters:,} | {f.train_perplexity:.2f} | {f.val_perplexity:.2f} |"
        for f in fits
    ]
    table = "\n".join(lines)
    write_text(out / "scaling.md", table + "\n")
    draw(fits, out / "scaling.png")
    return table


def draw(fits: Sequence[Fit], picture: Path) -> None:
    """Both perplexities over the number of parameters, axes logarithmic."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    sizes = [fit.parameters for fit in fits]
    for label, values, marker in (
        ("training text", [fit.train_perplexity for fit in fits], "s"),
        ("held-out text", [fit.val_perplexity for fit in fits], "o"),
    ):
        axes.plot(sizes, values, marker=marker, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(sizes, [_short(size) for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("parameters")
    axes.set_ylabel("perplexity a token")
    axes.grid(alpha=0.3)
    axes.legend()
    with replaced(picture) as partial:
        figure.savefig(partial, dpi=120, format="png")


def _short(number: int) -> str:
    return f"{number / 1e6:.0f}M" if number >= 1e7 else f"{number / 1e6:.2g}M"
