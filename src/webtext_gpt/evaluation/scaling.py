"""Perplexity on training and held-out text by model size (figure 4 of the paper).

If both decrease together as the models grow, the models still underfit their corpus.
"""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from pathlib import Path

import numpy as np

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.tables import aligned, markdown_table
from webtext_gpt.files import read_text, write_text
from webtext_gpt.paths import absence, check_output_folder, shown
from webtext_gpt.pictures import (
    BLUE,
    GREY,
    VERMILION,
    End,
    headline,
    label_ends,
    label_ticks,
    picture,
)

LAST_FRACTION = 0.1
"""Final fraction of the steps over which the training loss is averaged.

The loss of a step is computed before the model learns from its batch.
"""

LEAST_RATIO = 1.5
"""Minimum ratio of the largest to the smallest model for a law to be fitted."""


@dataclass(frozen=True)
class Fit:
    """Size and perplexities per token of a finished run."""

    run: str
    parameters: int
    train_perplexity: float
    val_perplexity: float


def read_fit(run_dir: Path) -> Fit:
    """Read `summary.json` and `metrics.csv` of a finished run.

    Raises:
        UserError: a file is missing or lacks the figures of a finished run, or the run was too
            short for a training loss to be logged.
    """
    if not run_dir.is_dir():
        problem = "is a file, not a run folder" if run_dir.exists() else absence(run_dir)
        raise UserError(f"report= names {shown(run_dir)}, which {problem}")
    summary_file, metrics_file = run_dir / "summary.json", run_dir / "metrics.csv"
    for file in (summary_file, metrics_file):
        if not file.is_file():
            raise UserError(
                f"{run_dir} has no {file.name}, so it is not a finished run of train.py; finish "
                "it, or leave it out of report="
            )
    text = read_text(summary_file)
    try:
        summary = json.loads(text)
        with metrics_file.open(newline="", encoding="utf-8") as stream:
            rows = [row for row in csv.DictReader(stream) if row.get("train_loss")]
        if not rows:
            raise UserError(
                f"{run_dir} is too short for report=: none of its {summary['step']} steps has a "
                f"train_loss in {metrics_file.name}; train for at least "
                "trainer.log_every_n_steps (10 by default), or leave the run out"
            )
        n_steps = max(float(row["step"]) for row in rows)
        last_rows = [row for row in rows if float(row["step"]) > n_steps * (1 - LAST_FRACTION)]
        losses = [float(row["train_loss"]) for row in last_rows]
        return Fit(
            run=run_dir.name,
            parameters=int(summary["parameters"]),
            train_perplexity=math.exp(sum(losses) / len(losses)),
            val_perplexity=float(summary["val_perplexity"]),
        )
    except UserError:
        raise
    except (json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UserError(
            f"{summary_file} and {metrics_file.name} do not contain the figures of a finished run "
            f"of train.py: {what}; leave it out of report="
        ) from error


def write_scaling_report(runs: Sequence[Path], out: Path) -> str:
    """Write `scaling.md` and `scaling.png` for several runs, smallest model first.

    Returns:
        The table in `scaling.md`, for the terminal.

    Raises:
        UserError: there are fewer than two runs, or a folder does not contain a finished run.
    """
    if len(runs) < 2:
        raise UserError(f"report= needs two runs or more, not {len(runs)}")
    check_output_folder(out, "run_dir")
    fits = sorted((read_fit(run) for run in runs), key=lambda fit: fit.parameters)
    table = [["run", "parameters", "train perplexity", "held-out perplexity"]] + [
        [f.run, f"{f.parameters:,}", f"{f.train_perplexity:.2f}", f"{f.val_perplexity:.2f}"]
        for f in fits
    ]
    write_text(out / "scaling.md", f"{markdown_table(table)}\n")
    plot(fits, out / "scaling.png")
    return aligned(table)


def power_law(sizes: Sequence[int], values: Sequence[float]) -> tuple[float, float] | None:
    """Fit `factor * size ** exponent` by least squares of the logarithms (Kaplan et al. 2020, 3.1).

    Returns:
        The factor and the exponent; None if the sizes are too close for a law.
    """
    if max(sizes) < LEAST_RATIO * min(sizes):
        return None
    exponent, log_factor = np.polyfit(np.log(sizes), np.log(values), 1)
    return float(np.exp(log_factor)), float(exponent)


def plot(fits: Sequence[Fit], file: Path) -> None:
    """Plot both perplexities over the number of parameters as a PNG, with logarithmic axes.

    The line is the power law that fits the perplexities on held-out text.
    """
    from matplotlib.ticker import LogLocator, NullLocator

    sizes = [fit.parameters for fit in fits]
    held_out = [fit.val_perplexity for fit in fits]
    trained = [fit.train_perplexity for fit in fits]
    law = power_law(sizes, held_out)
    with picture(file, height=4.2) as figure:
        axes = figure.add_subplot()
        if law is not None:
            factor, exponent = law
            change = 2**exponent - 1
            moves = "lowers" if change < 0 else "raises"
            headline(figure, f"Doubling the parameters {moves} perplexity by {abs(change):.1%}")
            shown = f"{factor:,.0f}" if factor >= 100 else f"{factor:.3g}"
            axes.set_title(
                f"held-out perplexity = {shown} · parameters$^{{{exponent:.3f}}}$", parse_math=True
            )
            ends = np.array([min(sizes) / 1.3, max(sizes) * 1.3])
            axes.plot(ends, factor * ends**exponent, color=GREY, linestyle="--", linewidth=1)
        else:
            low, high = min(held_out), max(held_out)
            headline(
                figure, f"Sizes too close for a law: held-out perplexity {low:.1f} to {high:.1f}"
            )
        axes.set_xlim(min(sizes) / 1.3, max(sizes) * 1.3)
        axes.plot(sizes, trained, "s", color=BLUE, markersize=6)
        axes.plot(sizes, held_out, "o", color=VERMILION, markersize=6)
        axes.set_xscale("log")
        axes.set_yscale("log")
        values = [*trained, *held_out]
        axes.set_ylim(min(values) / 1.15, max(values) * 1.15)
        apart = [size for size, next_one in pairwise([*sizes, inf]) if next_one > 1.15 * size]
        axes.set_xticks(apart, [_parameters(size) for size in apart])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        label_ticks(axes.yaxis)
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("parameters")
        axes.set_ylabel("perplexity per token")
        label_ends(
            axes,
            [
                End(trained[-1], "training text", BLUE),
                End(held_out[-1], "held-out text", VERMILION),
            ],
        )


def _parameters(number: float) -> str:
    """Return a number of parameters as 58K, 2.9M or 124M."""
    if number < 1e6:
        return f"{number / 1e3:.0f}K"
    return f"{number / 1e6:.0f}M" if number >= 1e7 else f"{number / 1e6:.2g}M"
