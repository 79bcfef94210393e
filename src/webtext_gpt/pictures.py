"""Style of every picture: readable at 600 pixels, in colors that the color-blind can tell apart.

A picture is 6 inches wide and saved with 150 pixels an inch. Shown at 600 pixels, its text is 12
pixels high or more. Its title says what it shows, its lines are labelled where they end, and its
colors are those of Okabe and Ito (2008).
"""

import sys
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from decimal import Decimal
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from webtext_gpt.commands import many_imports
from webtext_gpt.evaluation.tables import one_line
from webtext_gpt.files import replaced

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY = (
    *("#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#56b4e9"),
)
COLORS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)
"""Colors of Okabe and Ito (2008) that are visible on white."""
GREY = "#767676"
"""Color of lines that are only for comparison."""
WIDTH = 6.0
"""Width of a picture in inches; 600 pixels are then 100 an inch."""
DPI = 150
TITLE_LETTERS = 11
"""Characters of a title per inch."""
LABEL_INCHES = 0.17
"""Height of a line of labels."""
MOST_DECIMALS = 5
"""Decimals of a tick's label, beyond which all of the axis are written with exponents."""
LABEL_LETTERS = 22
"""Letters of the label of a line; a longer one is cut, to leave room for the lines."""

_STYLE: Any = {
    "font.size": 9.5,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 9.5,
    "figure.titlesize": 11,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "grid.color": "#e4e4e4",
    "lines.markersize": 4,
    "text.parse_math": False,  # a dollar sign does not start a formula
}


@contextmanager
def picture(file: Path, *, height: float = 3.8, width: float = WIDTH) -> Iterator["Figure"]:
    """Yield an empty figure in our style; it is written as a PNG when the block succeeds.

    The same figure gives the same bytes.

    Args:
        file: PNG to write, whatever its suffix.
        height: in inches.
        width: in inches.
    """
    # Later calls would keep the garbage of earlier pictures to the end.
    is_first = "matplotlib.figure" not in sys.modules
    with many_imports() if is_first else nullcontext():
        from matplotlib import rc_context
        from matplotlib.figure import Figure

    with rc_context(_STYLE), warnings.catch_warnings():
        # Characters that no font has are drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        with replaced(file) as partial:
            figure.savefig(partial, dpi=DPI, format="png", metadata={"Software": None})


def headline(figure: "Figure", finding: str) -> None:
    """Write what a figure shows above it, in as many lines as it needs."""
    width = int(figure.get_figwidth() * TITLE_LETTERS)
    figure.suptitle(balanced(one_line(finding, 3 * width), width), x=0.01, ha="left")


def balanced(text: str, width: int) -> str:
    """Return a text in as few lines of `width` letters as it needs, of similar lengths."""
    lines = textwrap.wrap(text, width)
    while width > 1 and len(narrower := textwrap.wrap(text, width - 1)) == len(lines):
        lines, width = narrower, width - 1
    return "\n".join(lines)


def short(name: str, letters: int) -> str:
    """Return a name in one line of at most so many letters, without its middle if it is longer."""
    line = one_line(name, max(letters, len(name)))
    half = letters // 2
    return line if len(line) <= letters else f"{line[: letters - half - 1]}…{line[-half:]}"


def tick_labels(values: Sequence[float]) -> list[str]:
    """Return the labels of an axis: all with the decimals of the value that needs most."""
    places = [-int(Decimal(f"{value:.9g}").normalize().as_tuple().exponent) for value in values]
    most = max([0, *places])
    if most > MOST_DECIMALS:
        return [f"{value:.9g}" for value in values]
    return [f"{value:,.{most}f}" if value else "0" for value in values]


def label_ticks(axis: "Axis") -> None:
    """Label the ticks of an axis as `tick_labels` does, whatever its ticks become."""
    axis.set_major_formatter(lambda value, _: tick_labels([value, *axis.get_majorticklocs()])[0])


class End(NamedTuple):
    """Label of a line: the value at which the line ends, the text, and the line's color."""

    value: float
    text: str
    color: str


def label_ends(axes: "Axes", ends: Sequence[End]) -> None:
    """Label lines right of the axes, near the values at which they end, without overlaps.

    The limits of the axes have to be final.
    """
    gap = LABEL_INCHES / (axes.bbox.height / axes.figure.dpi)
    right = axes.get_xlim()[1]
    low, high = sorted(axes.get_ylim())
    shown = sorted(ends, key=lambda end: end.value)
    inside = [(right, min(max(end.value, low), high)) for end in shown]
    to_axes = axes.transData + axes.transAxes.inverted()
    wanted = [float(place) for _, place in to_axes.transform(inside)] if inside else []
    for end, place in zip(shown, spread(wanted, gap), strict=True):
        axes.text(
            *(1.015, place, short(end.text, LABEL_LETTERS)),
            transform=axes.transAxes,
            color=ink(end.color),
            va="center",
            fontsize=9.5,
        )


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Return ascending places moved apart to distances of at least `gap`, as little as possible.

    The sum of the squared moves is the least (isotonic regression). The lowest place is at least 0
    if there is room, and the highest at most 1.
    """
    groups: list[list[float]] = []  # neighbours that touch, less the gaps below them
    for index, place in enumerate(places):
        groups.append([place - index * gap])
        while len(groups) > 1 and fmean(groups[-2]) > fmean(groups[-1]):
            last = groups.pop()
            groups[-1] += last
    highest = 1 - (len(places) - 1) * gap
    moved = [min(max(fmean(group), 0), highest) for group in groups for _ in group]
    return [place + index * gap for index, place in enumerate(moved)]


def ink(color: str) -> tuple[float, float, float]:
    """Return a color dark enough for text on white, of the same hue."""
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(color)
    # Relative luminance (WCAG 2); 0.18 and white have a contrast of 4.5 to 1, 0.16 has a margin.
    linear = [c / 12.92 if c <= 0.04 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
    luminance = sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    factor = min(1.0, (0.16 / max(luminance, 1e-9)) ** (1 / 2.4))
    return (red * factor, green * factor, blue * factor)


def fonts_for(characters: str) -> tuple[list[str], set[str]]:
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
