"""`loss.png`: losses, the metric of a task, learning rate and gradient norm by optimizer step."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from webtext_gpt.model import perplexity
from webtext_gpt.pictures import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    End,
    balanced,
    headline,
    ink,
    label_ends,
    label_ticks,
    picture,
)
from webtext_gpt.training.metrics import PER_TOKEN, LossMeaning, read_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEW = 40
"""Curves of at most this many points mark each one; longer ones get a running mean."""
WINDOWS = 40
"""The running mean's window is the number of points divided by this."""
BEGINNING, LITTLE = 0.05, 0.7
"""The first 5 % of the steps are cut off if the rest needs less than 70 % of the axis."""
TITLE_LETTERS_OF_AXES = 62
"""Letters of a line of text above the losses."""
SMALL_PANELS = {"lr": "learning\nrate", "grad_norm": "gradient\nnorm"}

Rows = Sequence[Mapping[str, float]]


def draw_losses(
    metrics: Path,
    file: Path,
    metric: str = "val_loss",
    total_steps: int | None = None,
    meaning: LossMeaning = PER_TOKEN,
) -> None:
    """Draw a run, which may still train.

    Args:
        metrics: the run's `metrics.csv`.
        file: PNG to write.
        metric: column drawn in a panel of its own, unless it is `val_loss`.
        total_steps: optimizer steps of the whole run; the title says if it has taken fewer.
        meaning: what the losses measure.
    """
    rows = read_metrics(metrics)
    extra = {metric: metric.removeprefix("val_")} if metric != "val_loss" else {}
    panels = {n: t for n, t in (extra | SMALL_PANELS).items() if any(n in row for row in rows)}
    heights = [2.3, *(1.2 if name == metric else 0.75 for name in panels)]
    with picture(file, height=0.9 + sum(heights)) as figure:
        from matplotlib.ticker import MaxNLocator

        headline(figure, finding(rows, metric, total_steps, meaning))
        grid = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)
        all_axes: list[Axes] = grid[:, 0].tolist()
        last_step = max((row["step"] for row in rows), default=1)
        all_axes[0].set_xlim(0, last_step * 1.01)
        _draw_losses(all_axes[0], rows)
        all_axes[0].set_ylabel(f"loss ({meaning.unit})")
        if meaning.training and any("train_loss" in row for row in rows):
            all_axes[0].set_title(balanced(f"Training: {meaning.training}", TITLE_LETTERS_OF_AXES))
        for axes, (name, title) in zip(all_axes[1:], panels.items(), strict=True):
            _draw_small(axes, *_points(rows, name), ORANGE if name == metric else GREY)
            axes.set_ylabel(title)
            if name != metric and axes.get_yscale() == "linear":
                axes.set_ylim(bottom=0)
        all_axes[-1].set_xlabel("optimizer steps")
        all_axes[-1].xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        all_axes[-1].xaxis.set_major_formatter("{x:,.0f}")
        figure.align_ylabels(all_axes)


def finding(
    rows: Rows,
    metric: str = "val_loss",
    total_steps: int | None = None,
    meaning: LossMeaning = PER_TOKEN,
) -> str:
    """Return one sentence that says how far the run came, and with which result."""
    if not rows:
        return "No step has been logged yet"
    step = int(max(row["step"] for row in rows))
    of = f" of {total_steps:,}" if total_steps is not None and step < total_steps else ""
    after = f"after {step:,}{of} {'step' if step == 1 else 'steps'}"
    steps, losses = _points(rows, "val_loss")
    trained = _points(rows, "train_loss")[1]
    if not len(losses):
        return f"Training loss {trained[-1]:.3f} {after}; no validation" if len(trained) else after
    scores = _points(rows, metric)[1]
    if metric != "val_loss" and len(scores):
        name = metric.removeprefix("val_")
        return f"Validation in training: {name} {scores[-1]:.4g}, loss {losses[-1]:.3f} {after}"
    best = int(losses.argmin())
    better = f"{losses[best]:.3f}" != f"{losses[-1]:.3f}"
    of_tokens = meaning.unit == PER_TOKEN.unit
    known = f" (perplexity {perplexity(losses[-1]):,.1f})" if of_tokens else ""
    return f"Validation loss {losses[-1]:.3f}{known} {after}" + (
        f"; lowest {losses[best]:.3f} at step {steps[best]:,.0f}" if better else ""
    )


def _points(rows: Rows, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps that have a column, and its values there."""
    points = [(row["step"], row[column]) for row in rows if column in row]
    steps, values = np.array(points, dtype=float).reshape(-1, 2).T
    return steps, values


def _draw_losses(axes: "Axes", rows: Rows) -> None:
    """Draw the training loss, and every validation loss: of sources, and of averaged weights."""
    ends = []
    steps, values = _points(rows, "train_loss")
    if len(values) > FEW:
        axes.plot(steps, values, color=SKY, linewidth=0.6, alpha=0.6)
        steps, values = _running_mean(steps, values)
        axes.plot(steps, values, color=BLUE, linewidth=1.6)
    elif len(values):
        axes.plot(steps, values, color=BLUE, linewidth=1.2, marker="o")
    if len(values):
        ends.append(End(values[-1], "training", BLUE))
    names = list(dict.fromkeys(n for row in rows for n in row if n.startswith("val_loss_")))
    others = cycle((PURPLE, ORANGE, GREY, SKY))  # green are averaged weights
    lines = {"val_loss": ("validation", VERMILION, "-")}
    for name in names:
        short = name.removeprefix("val_loss_")
        if short == "average":
            lines[name] = ("averaged weights", GREEN, "--")
        elif not short.endswith("_average"):
            lines[name] = (short, next(others), "--")
    for name, (label, color, style) in lines.items():
        steps, values = _points(rows, name)
        if len(values):
            marker = "o" if len(values) <= FEW else None
            axes.plot(steps, values, color=color, linestyle=style, linewidth=1.6, marker=marker)
            ends.append(End(values[-1], label, color))
    _leave_out_beginning(axes, rows)
    label_ends(axes, ends)


def _leave_out_beginning(axes: "Axes", rows: Rows) -> None:
    """Cut the losses of the first steps off at the top, if they would flatten the later ones."""
    steps, values = _points(rows, "train_loss")
    if len(values) <= FEW:
        return
    later = values[steps > BEGINNING * steps[-1]].max()
    validated = max((row["val_loss"] for row in rows if "val_loss" in row), default=later)
    low, high = axes.get_ylim()
    top = max(later, validated)
    if top < low + (high - low) * LITTLE:
        axes.set_ylim(low, top + 0.05 * (top - low))
        text = f"training begins at {values[0]:.3g}, above the picture"
        axes.text(0.99, 0.97, text, transform=axes.transAxes, va="top", ha="right", color=ink(BLUE))


def _running_mean(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return means over a fortieth of the points, each at the last step of its window."""
    width = -(-len(values) // WINDOWS)
    sums = np.concatenate(([0.0], values.cumsum()))
    return steps[width - 1 :], (sums[width:] - sums[:-width]) / width


def _draw_small(axes: "Axes", steps: np.ndarray, values: np.ndarray, color: str) -> None:
    """Draw a panel of few ticks, logarithmic if peaks would hide the other values."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    marker = "o" if len(steps) <= FEW else None
    axes.plot(steps, values, color=color, linewidth=1.2, marker=marker, markersize=3)
    low, middle, high = np.percentile(values, (0, 50, 100))
    if low > 0 and high >= 10 * middle:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=3))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(3))
    label_ticks(axes.yaxis)
