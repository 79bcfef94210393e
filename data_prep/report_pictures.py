"""Pictures of the corpus report: funnel, domains, lengths, quality scores, sizes of clusters."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data_prep.stage.manifest import Manifest
from webtext_gpt.data.rows import plural
from webtext_gpt.pictures import BLUE, GREY, ORANGE, SKY, VERMILION, headline, ink, picture, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REASONS = 5
"""Maximum reasons of a stage with a bar of their own; the others share one."""
ROW = 0.24
"""Height of a row of the funnel, in inches."""
NAME_LETTERS = 30
"""Letters of a domain's name; a longer one is cut, to leave room for the bars."""


def draw_funnel(file: Path, manifests: Mapping[str, Manifest]) -> None:
    """Draw a waterfall for each stage: what it received, lost for each reason, merged, and kept.

    Bars are shares of the rows that the stage received; the labels give their numbers.

    Args:
        file: PNG to write.
        manifests: manifests by name of the stage, in the order of the stages.
    """
    blocks = {stage: waterfall(manifest) for stage, manifest in manifests.items()}
    first, *_, last = [*manifests.values(), *manifests.values()]
    rows = sum(len(block) + 1 for block in blocks.values())
    with picture(file, height=0.9 + ROW * rows) as figure:
        headline(figure, f"{plural(first['rows_in'])} in, {plural(last['rows_out'])} out")
        axes = figure.add_subplot()
        place, ticks, names = 0, [], []
        for stage, block in blocks.items():
            total = manifests[stage]["rows_in"] or 1
            axes.text(0, place, stage, fontweight="bold", va="center")
            for name, start, count, color in block:
                place += 1
                axes.barh(place, 100 * count / total, left=100 * start / total, color=color)
                _label(axes, place, 100 * start / total, 100 * count / total, f"{count:,}", color)
                ticks.append(place)
                names.append(name)
            place += 1
        axes.set_yticks(ticks, names)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(place - 0.4, -0.6)
        axes.set_xlim(0, 100)
        axes.set_xlabel("share of the rows that the stage received (%)")
        axes.grid(visible=False, axis="y")


def waterfall(manifest: Manifest) -> list[tuple[str, int, int, str]]:
    """Return the bars of a stage: name, where it begins, its length in rows, and its color."""
    reasons = sorted(manifest["rejected"].items(), key=lambda item: (-item[1], item[0]))
    shown = reasons[:REASONS]
    if more := reasons[REASONS:]:
        shown.append((f"{len(more)} other reasons", sum(count for _, count in more)))
    left = manifest["rows_in"]
    bars = []
    for name, count in shown:
        left -= count
        bars.append((name, left, count, VERMILION))
    merged = manifest["rows_used"] - manifest["rows_out"]
    if merged > 0:
        left -= merged
        bars.append(("merged with others", left, merged, SKY))
    return [*bars, ("out", 0, manifest["rows_out"], BLUE)]


def _label(axes: "Axes", place: int, start: float, length: float, text: str, color: str) -> None:
    """Write a bar's number beside it: right of it, or left where it ends at the right edge."""
    is_right = start + length > 82
    if is_right and start < 18:  # there is no room on either side
        right = start + length - 1
        axes.text(right, place, text, ha="right", va="center", color="white", fontweight="bold")
    elif is_right:
        axes.text(start - 1, place, text, ha="right", va="center", color=ink(color))
    else:
        axes.text(start + length + 1, place, text, va="center", color=ink(color))


def draw_domains(
    file: Path, shares: Sequence[tuple[str, float, float | None]], n_domains: int
) -> None:
    """Draw the most frequent domains, and their shares of WebText as marks.

    Args:
        file: PNG to write.
        shares: name, share of our documents, and of WebText's (None: not in its table), of each.
        n_domains: number of all domains.
    """
    with picture(file, height=1.1 + ROW * len(shares)) as figure:
        together = sum(share for _, share, _ in shares)
        one = len(shares) == 1
        headline(
            figure,
            f"The {'largest domain has' if one else f'{len(shares)} largest domains have'} "
            f"{together:.0%} of the documents, of {plural(n_domains, 'domain')}",
        )
        axes = figure.add_subplot()
        places = range(len(shares))
        axes.barh(places, [100 * share for _, share, _ in shares], color=BLUE)
        theirs = [(100 * w, at) for at, (_, _, w) in enumerate(shares) if w is not None]
        if theirs:
            axes.plot(*zip(*theirs, strict=True), "D", color=ORANGE, markersize=6)
            axes.set_xlabel("share of the documents (%)\ndiamonds: share of WebText's top 1,000")
        else:
            axes.set_xlabel("share of the documents (%)")
        axes.set_yticks(places, [short(name, NAME_LETTERS) for name, _, _ in shares])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(shares) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")


def draw_lengths(file: Path, characters: np.ndarray) -> None:
    """Draw the distribution of the documents' lengths, on a logarithmic axis."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, middle, high = np.percentile(characters, (25, 50, 75))
    shortest, longest = max(characters.min(), 1), max(characters.max(), 1)
    same = f"{plural(len(characters), 'document')} of {plural(int(longest), 'character')}"
    ends = [float(np.log10(n)) for n in (shortest / 1.1, longest * 1.1 + 1)]
    with picture(file, height=3.4) as figure:
        half = f"Half of the documents have {low:,.0f} to {high:,.0f} characters"
        headline(figure, half if shortest < longest else same)
        axes = figure.add_subplot()
        bins = np.logspace(ends[0], ends[1], min(50, 5 + len(characters)))
        axes.hist(np.maximum(characters, 1), bins=bins.tolist(), color=BLUE)
        axes.set_xscale("log")
        parts = (1.0,) if ends[1] - ends[0] > 2 else (1.0, 2.0, 5.0)
        axes.xaxis.set_major_locator(LogLocator(subs=parts))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter("{x:,.0f}")
        _count_documents(axes)
        mark_value(axes, middle, f"median {middle:,.0f}")
        axes.set_xlabel("characters of a document")


def draw_quality(file: Path, scores: np.ndarray, lowest: float) -> None:
    """Draw the distribution of the quality scores of the documents kept, and the threshold."""
    with picture(file, height=3.4) as figure:
        middle = f"; half score {np.median(scores):.2f} or more" if len(scores) else ""
        headline(figure, f"{plural(len(scores), 'document')} kept{middle}")
        axes = figure.add_subplot()
        axes.hist(scores, bins=50, range=(0, 1), color=BLUE)
        _count_documents(axes)
        mark_value(axes, lowest, f"lowest that is kept, {lowest:.2f}")
        axes.set_xlabel("quality score")


def _count_documents(axes: "Axes") -> None:
    """Give a histogram an axis of whole numbers, and room above for the label of a value."""
    from matplotlib.ticker import MaxNLocator

    highest = axes.dataLim.ymax
    axes.set_ylim(0, 1.15 * max(highest, 1))
    axes.set_ylabel("documents")
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_formatter("{x:,.0f}")


def draw_clusters(file: Path, sizes: Mapping[int, int]) -> None:
    """Draw how many clusters of copies have each size; the axes are logarithmic.

    Args:
        file: PNG to write.
        sizes: number of clusters by number of documents.
    """
    from matplotlib.ticker import MaxNLocator

    clusters = sum(sizes.values())
    pairs = sizes.get(2, 0) / clusters
    with picture(file, height=3.4) as figure:
        headline(
            figure,
            f"Pairs are {pairs:.0%} of {plural(clusters, 'cluster')}; "
            f"the largest has {max(sizes):,} documents",
        )
        axes = figure.add_subplot()
        axes.plot(list(sizes), list(sizes.values()), "o", color=BLUE, markersize=5)
        axes.set_xscale("log")
        axes.set_xlim(1.5, max(sizes) * 1.5)
        if max(sizes.values()) >= 10:
            axes.set_yscale("log")
            axes.set_ylim(0.7, max(sizes.values()) * 1.6)
        else:
            axes.set_ylim(0, max(sizes.values()) + 0.5)
            axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:,.0f}")
        axes.minorticks_off()
        if max(sizes) < 10:
            axes.set_xticks(range(2, max(sizes) + 1))
        axes.set_xlabel("documents in a cluster")
        axes.set_ylabel("clusters")


def mark_value(axes: "Axes", value: float, text: str) -> None:
    """Mark a value of the horizontal axis by a line and a text."""
    axes.axvline(value, color=GREY, linestyle="--", linewidth=1)
    axes.text(
        *(value, 0.97, f" {text} "),
        transform=axes.get_xaxis_transform(),
        va="top",
        ha="left" if axes.transLimits.transform((value, 0))[0] < 0.6 else "right",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1},
    )
