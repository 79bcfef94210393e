"""Plots of a classifier's predictions: a confusion matrix, or predicted over true numbers."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from webtext_gpt.evaluation.tables import one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_COUNTED = 30
"""Maximum number of classes for which the cells show their counts."""
MOST_NAMED = 60
"""Maximum number of class names on an axis. With more classes, only every k-th is named."""


def draw_confusion(picture: Path, title: str, confusion: Tensor, labels: Sequence[str]) -> None:
    """Draw a confusion matrix, each cell shaded by its share of the true class's rows.

    A class whose name no installed font can display is shown by its number, from 1.

    Args:
        picture: PNG file to write, whatever its suffix.
        title: title of the plot.
        confusion: `(n, n)` counts, true classes as rows.
        labels: names of the n classes.
    """
    from matplotlib.figure import Figure

    n = len(labels)
    widest = len(f"{int(confusion.max()):,}") if n <= MOST_COUNTED else 0
    cell = max(0.45, 0.075 * widest + 0.1)
    side = max(cell * n, 2.0) if n <= MOST_COUNTED else 14.0  # inches
    names = [one_line(label, 20) for label in labels]
    fonts, missing = _fonts_for("".join(names))
    names = [
        f"class {number}" if missing.intersection(name) else name
        for number, name in enumerate(names, start=1)
    ]
    margin = 1.2 + 0.075 * max(map(len, names))
    figure = Figure(figsize=(side + margin + 1, side + margin), layout="constrained")
    axes = figure.add_subplot()
    shares = confusion.double() / confusion.sum(dim=1, keepdim=True).clamp(min=1)
    image = axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the true class's rows", shrink=0.8)
    if n <= MOST_COUNTED:
        for row, column in ((r, c) for r in range(n) for c in range(n)):
            color = "white" if shares[row, column] > 0.5 else "black"
            count = f"{int(confusion[row, column]):,}"
            axes.text(column, row, count, ha="center", va="center", color=color, fontsize=8)
    shown = range(0, n, -(-n // MOST_NAMED))
    plain: dict[str, Any] = {
        "fontsize": 8,
        "fontfamily": fonts,
        "parse_math": False,  # a dollar sign does not start a formula
    }
    axes.set_xticks(shown, [names[place] for place in shown], rotation=90, **plain)
    axes.set_yticks(shown, [names[place] for place in shown], **plain)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(one_line(title, 60), parse_math=False, fontsize=10, wrap=True)
    _save(figure, picture)


def draw_scatter(picture: Path, title: str, predicted: Tensor, targets: Tensor) -> None:
    """Draw a point per row, predicted over true value, and the diagonal of exact predictions.

    Args:
        picture: PNG file to write, whatever its suffix.
        title: title of the plot.
        predicted: `(N,)` predicted values.
        targets: `(N,)` true values.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(targets.numpy(), predicted.numpy(), ".", alpha=0.4, markersize=5)
    ends = [float(targets.min()), float(targets.max())]
    axes.plot(ends, ends, linewidth=1, color="grey", label="predicted = true")
    axes.set_xlabel("true")
    axes.set_ylabel("predicted")
    axes.set_title(one_line(title, 60), parse_math=False, fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend()
    _save(figure, picture)


def _save(figure: "Figure", picture: Path) -> None:
    with warnings.catch_warnings():  # a title's missing glyphs are drawn as boxes
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(picture, dpi=120, format="png")


def _fonts_for(characters: str) -> tuple[list[str], set[str]]:
    """Return font families that together display these characters, and those that none can."""
    from matplotlib.font_manager import FontProperties, findfont, fontManager

    families = ["sans-serif"]
    missing = set("".join(characters.split()))
    missing -= _displayed(findfont(FontProperties()), missing)  # by the default font
    upright = {
        font.name: font.fname
        for font in (fontManager.ttflist if missing else ())
        if font.style == "normal" and font.weight in (400, "normal")
    }
    for name, file in sorted(upright.items()):
        displayed = _displayed(file, missing)
        if displayed and not name.startswith("Last Resort"):  # which draws a box for everything
            families.append(name)
            missing -= displayed
    return families, missing


def _displayed(file: str, characters: set[str]) -> set[str]:
    """Return the characters for which a font file has glyphs."""
    from matplotlib.font_manager import get_font

    font = get_font(file)
    return {c for c in characters if font.scalable and font.get_char_index(ord(c))}
