"""Plots of a classifier's predictions: a confusion matrix, or predicted over true numbers."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from webtext_gpt.data.rows import plural
from webtext_gpt.evaluation.tables import one_line
from webtext_gpt.pictures import BLUE, GREY, WIDTH, fonts_for, headline, picture, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_WITH_SHARES = 8
"""Maximum number of classes for which the cells show percentages besides counts."""
WIDEST_CELL = 1.3
"""Width of a cell of few classes, in inches."""
LETTER, SMALL_LETTER = 0.075, 0.065
"""Width of a letter in inches, of few and of many classes."""
NAME_PITCH = 0.13
"""Smallest distance of two names on an axis, in inches; closer classes are named in part."""


def draw_confusion(file: Path, title: str, confusion: Tensor, labels: Sequence[str]) -> None:
    """Draw a confusion matrix, each cell shaded by its share of the true class's rows.

    The cells of few classes show this share, in per cent, and the number of rows, those of more
    classes the number if it fits. A class whose name no installed font can display is shown by its
    number, from 1.

    Args:
        file: PNG file to write, whatever its suffix.
        title: title of the plot, before the share of right predictions.
        confusion: `(n, n)` counts, true classes as rows.
        labels: names of the n classes.
    """
    n = len(labels)
    is_small = n <= MOST_WITH_SHARES
    names = [short(label, 20 if is_small else 15) for label in labels]
    fonts, missing = fonts_for("".join(names))
    names = [
        f"class {number}" if missing.intersection(name) else name
        for number, name in enumerate(names, start=1)
    ]
    letter = LETTER if is_small else SMALL_LETTER
    margin = letter * max(map(len, names))
    cell = min((WIDTH - margin - (0.8 if is_small else 1.4)) / n, WIDEST_CELL)
    lying = is_small and margin < cell
    height = cell * n + 0.85 + (0.25 if lying else margin)
    shares = confusion.double() / confusion.sum(dim=1, keepdim=True).clamp(min=1)
    right, total = int(confusion.trace()), int(confusion.sum())
    with picture(file, height=height) as figure:
        share = f"{right / max(total, 1):.1%} of {plural(total)}"
        headline(figure, f"{one_line(title, 60)}: {share} right")
        axes = figure.add_subplot()
        image = axes.imshow(
            shares.numpy(),
            cmap="Blues",
            vmin=0,
            vmax=1,
            aspect="auto" if is_small else "equal",  # two or three classes fill the width, too
        )
        if not is_small:
            figure.colorbar(image, ax=axes, label="share of the true class's rows", shrink=0.8)
        if is_small or letter * len(f"{int(confusion.max()):,}") < 0.9 * cell:
            _write_cells(axes, confusion, shares, cell)
        shown = range(0, n, ceil(NAME_PITCH / cell))
        plain: dict[str, Any] = {
            "fontsize": 9.5 if is_small else 8,
            "fontfamily": fonts,
            "parse_math": False,  # a dollar sign does not start a formula
        }
        ticks = [names[place] for place in shown]
        axes.set_xticks(shown, ticks, rotation=0 if lying else 90, **plain)
        axes.set_yticks(shown, ticks, **plain)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        axes.grid(visible=False)


def _write_cells(axes: "Axes", confusion: Tensor, shares: Tensor, cell: float) -> None:
    """Write each cell's number of rows; of few classes, above it its share of the true class."""
    n = len(confusion)
    letters = max(len("100.0%"), len(f"{int(confusion.max()):,}"))
    size = min(10, 10 * 0.95 * cell / (LETTER * letters)) if n <= MOST_WITH_SHARES else 8
    for row, column in torch.cartesian_prod(torch.arange(n), torch.arange(n)).tolist():
        share, count = float(shares[row, column]), f"{int(confusion[row, column]):,}"
        text = f"{share:.1%}\n{count}" if n <= MOST_WITH_SHARES else count
        color = "white" if share > 0.5 else "black"
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=size)


def draw_scatter(file: Path, title: str, predicted: Tensor, targets: Tensor) -> None:
    """Draw a point per row, predicted over true value, and the diagonal of exact predictions.

    Args:
        file: PNG file to write, whatever its suffix.
        title: title of the plot, before the mean error.
        predicted: `(N,)` predicted values.
        targets: `(N,)` true values.
    """
    error = float((predicted - targets).abs().mean())
    with picture(file, height=4.6) as figure:
        headline(figure, f"{one_line(title, 60)}: off by {error:.3g} on average")
        axes = figure.add_subplot()
        axes.plot(targets.numpy(), predicted.numpy(), ".", color=BLUE, alpha=0.4, markersize=5)
        ends = [float(targets.min()), float(targets.max())]
        axes.plot(ends, ends, linewidth=1, color=GREY)
        axes.annotate("exact", (ends[1], ends[1]), (4, 0), textcoords="offset points", color=GREY)
        axes.set_xlabel("true value")
        axes.set_ylabel("predicted value")
