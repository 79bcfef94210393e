"""Plots of a classifier's predictions: a confusion matrix, or predicted over true numbers."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from webtext_gpt.evaluation.tables import one_line
from webtext_gpt.pictures import BLUE, GREY, WIDTH, fonts_for, headline, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_WITH_SHARES = 8
"""Maximum number of classes for which the cells show percentages besides counts."""
FEW = 4
"""Maximum number of classes for which the cells are as wide as the names."""
MOST_COUNTED = 30
"""Maximum number of classes for which the cells show their counts."""
MOST_NAMED = 60
"""Maximum number of class names on an axis. With more classes, only every k-th is named."""


def draw_confusion(file: Path, title: str, confusion: Tensor, labels: Sequence[str]) -> None:
    """Draw a confusion matrix, each cell shaded by its share of the true class's rows.

    With few classes, the cells show this share as a percentage, and the number of rows. A class
    whose name no installed font can display is shown by its number, from 1.

    Args:
        file: PNG file to write, whatever its suffix.
        title: title of the plot, before the share of right predictions.
        confusion: `(n, n)` counts, true classes as rows.
        labels: names of the n classes.
    """
    n = len(labels)
    widest = len(f"{int(confusion.max()):,}") if n <= MOST_COUNTED else 0
    cell = max(0.85 if n <= MOST_WITH_SHARES else 0.4, 0.075 * widest + 0.1)
    side = max(cell * n, 2.0) if n <= MOST_COUNTED else 10.0  # inches
    names = [one_line(label, 20) for label in labels]
    fonts, missing = fonts_for("".join(names))
    names = [
        f"class {number}" if missing.intersection(name) else name
        for number, name in enumerate(names, start=1)
    ]
    if n <= FEW:
        cell = max(cell, min(0.075 * max(map(len, names)) + 0.1, 1.3))
        side = max(cell * n, 2.0)
    lying = n <= MOST_WITH_SHARES and 0.075 * max(map(len, names)) < side / n
    margin = 1.0 + 0.075 * max(map(len, names))
    width = max(side + margin + 1, WIDTH * (n <= MOST_WITH_SHARES))
    height = side + (1.2 if lying else margin)
    shares = confusion.double() / confusion.sum(dim=1, keepdim=True).clamp(min=1)
    right, total = int(confusion.trace()), int(confusion.sum())
    with picture(file, width=width, height=height) as figure:
        headline(
            figure, f"{one_line(title, 60)}: {right / max(total, 1):.1%} of {total:,} rows right"
        )
        axes = figure.add_subplot()
        image = axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
        if n > MOST_WITH_SHARES:
            figure.colorbar(image, ax=axes, label="share of the true class's rows", shrink=0.8)
        if n <= MOST_COUNTED:
            _write_cells(axes, confusion, shares)
        shown = range(0, n, -(-n // MOST_NAMED))
        plain: dict[str, Any] = {
            "fontsize": 9.5 if n <= MOST_WITH_SHARES else 8,
            "fontfamily": fonts,
            "parse_math": False,  # a dollar sign does not start a formula
        }
        ticks = [names[place] for place in shown]
        axes.set_xticks(shown, ticks, rotation=0 if lying else 90, **plain)
        axes.set_yticks(shown, ticks, **plain)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        axes.grid(visible=False)


def _write_cells(axes: "Axes", confusion: Tensor, shares: Tensor) -> None:
    """Write each cell's number of rows and, with few classes, its share of the true class."""
    n = len(confusion)
    for row, column in torch.cartesian_prod(torch.arange(n), torch.arange(n)).tolist():
        share, count = float(shares[row, column]), f"{int(confusion[row, column]):,}"
        text = f"{share:.1%}\n{count}" if n <= MOST_WITH_SHARES else count
        color = "white" if share > 0.5 else "black"
        size = 10 if n <= MOST_WITH_SHARES else 8
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
