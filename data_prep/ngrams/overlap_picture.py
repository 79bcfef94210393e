"""Picture of the overlap: how much of the samples of each test set the training set holds."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from webtext_gpt.data.rows import plural
from webtext_gpt.pictures import headline, picture, short

CLASSES = ("none", "to 1 %", "to 10 %", "to 50 %", "to 100 %", "all")
"""Classes of a sample's overlap. Those between `none` and `all` exclude both."""
COLORS = ("#e6e6e6", "#fdd9a0", "#f5a742", "#d55e00", "#8f3a00", "#000000")
"""Colors of the classes, from light to dark, so that they differ even without hue."""
LABELLED = 7.0
"""Smallest part of a bar, in percent, whose number is written inside."""


def classes_of(shares: np.ndarray) -> np.ndarray:
    """Return the number of samples in each of `CLASSES`.

    Args:
        shares: each sample's share of 8-grams that train holds, in per cent, (samples,).
    """
    bins = np.digitize(shares, [1, 10, 50, 100]) + 1  # 1 to 5, where 5 is all
    return np.bincount(np.where(shares == 0, 0, bins), minlength=len(CLASSES))


def _finding(touched: int, total: int) -> str:
    if not total:
        return "No sample has an 8-gram"
    share = f"{touched / total:.1%}" if touched else "None"
    verb = "shares" if total == 1 or not touched else "share"
    return f"{share} of {plural(total, 'sample')} {verb} an 8-gram with the training set"


def draw_overlap(file: Path, shares: Mapping[str, np.ndarray]) -> None:
    """Draw a bar for each test set, divided by how much of a sample train holds.

    Args:
        file: PNG to write.
        shares: shares of each test set's samples, as `classes_of` takes them, by name.
    """
    counts = {name: classes_of(own) for name, own in shares.items()}
    total = sum(int(own.sum()) for own in counts.values())
    touched = total - sum(int(own[0]) for own in counts.values())
    percents = {name: 100 * own / max(own.sum(), 1) for name, own in counts.items()}
    with picture(file, height=1.7 + 0.42 * max(len(counts), 1)) as figure:
        headline(figure, _finding(touched, total))
        axes = figure.add_subplot()
        left = np.zeros(len(counts))
        for number, (name, color) in enumerate(zip(CLASSES, COLORS, strict=True)):
            widths = np.array([own[number] for own in percents.values()])
            axes.barh(range(len(counts)), widths, left=left, color=color, label=name, height=0.7)
            for place, (width, start) in enumerate(zip(widths, left, strict=True)):
                if width >= LABELLED:
                    text = "100%" if width == 100 else f"{min(width, 99.9):.1f}%"
                    ink = "white" if number > 2 else "black"
                    axes.text(start + width / 2, place, text, color=ink, ha="center", va="center")
            left += widths
        axes.set_yticks(range(len(counts)), [short(name, 24) for name in counts])
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_xlabel("samples of the test set (%)")
        axes.grid(visible=False)
        figure.legend(
            loc="outside lower left",
            ncols=len(CLASSES),
            title="8-grams of a sample found in train",
            alignment="left",
            frameon=False,
            handlelength=1.0,
            columnspacing=1.2,
        )
