"""Pictures of a classifier's answers: a confusion matrix, or predicted against true numbers."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from webtext_gpt.evaluation.tables import one_line

MOST_COUNTED = 30
"""Classes up to which the cells hold their counts."""
MOST_NAMED = 60
"""Classes up to which all are named at the axes."""


def draw_confusion(picture: Path, title: str, confusion: Tensor, labels: Sequence[str]) -> None:
    """Counts of predictions, shaded by their share of the true class's rows.

    A class whose name no installed font can write is called by its number, from 1.

    Args:
        picture: the PNG to write, whatever its name ends with.
        title: over the picture.
        confusion: `(n, n)` counts, true classes as rows.
        labels: names of the n classes.
    """
    from matplotlib.figure import Figure

    n = len(labels)
    widest = len(f"{int(confusion.max()):,}") if n <= MOST_COUNTED else 0
    cell = max(0.45, 0.075 * widest + 0.1)
    side = max(cell * n, 2.0) if n <= MOST_COUNTED else 14.0  # inches
    names = [one_line(label, 20) for label in labels]
    fonts, lacking = _fonts_for("".join(names))
    names = [
        f"class {number}" if lacking.intersection(name) else name
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
        "parse_math": False,
    }  # a dollar is no formula
    axes.set_xticks(shown, [names[place] for place in shown], rotation=90, **plain)
    axes.set_yticks(shown, [names[place] for place in shown], **plain)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(one_line(title, 60), parse_math=False, fontsize=10, wrap=True)
    _save(figure, picture)


def draw_scatter(picture: Path, title: str, predicted: Tensor, targets: Tensor) -> None:
    """A point a row, predicted over true, with the line on which both are the same.

    Args:
        picture: the PNG to write, whatever its name ends with.
        title: over the picture.
        predicted: `(N,)` values.
        targets: `(N,)` true values.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(targets.numpy(), predicted.numpy(), ".", alpha=0.4, markersize=5)
    ends = [float(targets.min()), float(targets.max())]
    axes.plot(ends, ends, linewidth=1, color="grey", label="predicted as it is")
    axes.set_xlabel("true")
    axes.set_ylabel("predicted")
    axes.set_title(one_line(title, 60), parse_math=False, fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend()
    _save(figure, picture)


def _save(figure: Any, picture: Path) -> None:
    with warnings.catch_warnings():  # of a title's glyphs: boxes stand for them
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(picture, dpi=120, format="png")


def _fonts_for(characters: str) -> tuple[list[str], set[str]]:
    """Families of fonts that write these characters together, and those that none can."""
    from matplotlib.font_manager import FontProperties, findfont, fontManager

    families = ["sans-serif"]
    lacking = set("".join(characters.split()))
    lacking -= _written(findfont(FontProperties()), lacking)  # the default font
    upright = {
        font.name: font.fname
        for font in (fontManager.ttflist if lacking else ())
        if font.style == "normal" and font.weight in (400, "normal")
    }
    for name, file in sorted(upright.items()):
        written = _written(file, lacking)
        if written and not name.startswith("Last Resort"):  # which has a box for everything
            families.append(name)
            lacking -= written
    return families, lacking


def _written(file: str, characters: set[str]) -> set[str]:
    from matplotlib.font_manager import get_font

    font = get_font(file)
    return {c for c in characters if font.scalable and font.get_char_index(ord(c))}
