"""The style of pictures: labels that do not overlap, text that can be read, the same bytes."""

from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread

from webtext_gpt.pictures import (
    COLORS,
    End,
    balanced,
    headline,
    ink,
    label_ends,
    picture,
    short,
    spread,
    tick_labels,
)


@pytest.mark.parametrize(
    ("places", "moved"),
    [
        ([0.2, 0.5], [0.2, 0.5]),
        ([0.2, 0.25], [0.175, 0.275]),
        ([0.1, 0.5, 0.5, 0.5], [0.1, 0.4, 0.5, 0.6]),
        ([0.95, 0.96, 1.0], [0.8, 0.9, 1.0]),
        ([0.0, 0.01], [0.0, 0.1]),
        ([], []),
    ],
)
def test_labels_are_spread(places: list[float], moved: list[float]) -> None:
    assert spread(places, 0.1) == pytest.approx(moved)


def test_labels_are_beside_the_axes_and_apart(tmp_path: Path, figures: list[Any]) -> None:
    names = ("one", "two", "three", "four")
    with picture(tmp_path / "a.png", height=3) as figure:
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1])
        label_ends(axes, [End(1.0, name, COLORS[0]) for name in names])
    boxes = [text.get_window_extent() for text in figures[0].axes[0].texts]
    assert len(boxes) == len(names)
    assert not any(a.overlaps(b) for at, a in enumerate(boxes) for b in boxes[:at])
    assert min(box.x0 for box in boxes) > figures[0].axes[0].bbox.x1


@pytest.mark.parametrize(
    ("title", "lines"),
    [
        ("short", ["short"]),
        ("one two three four five six", ["one two three", "four five six"]),
        ("aaaa bbbb cccc dddd at most", ["aaaa bbbb", "cccc dddd", "at most"]),
        ("", [""]),
    ],
)
def test_the_lines_of_a_title_have_similar_lengths(title: str, lines: list[str]) -> None:
    assert balanced(title, 24 if "five" in title else 12).split("\n") == lines


def test_a_long_name_keeps_its_ends() -> None:
    assert short("business\nnews", 13) == "business news"
    assert short("the long name of class 12", 13) == "the lo…ass 12"
    assert len(short("x" * 500, 13)) == 13


def test_a_long_title_stays_inside(tmp_path: Path, figures: list[Any]) -> None:
    with picture(tmp_path / "a.png") as figure:
        headline(figure, "a long finding about the price of $5 " * 4)
        figure.add_subplot()
    box = figures[0]._suptitle.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figures[0].bbox.width
    assert imread(tmp_path / "a.png").shape[:2] == (570, 900)


def test_the_same_picture_has_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        with picture(tmp_path / name, height=2) as figure:
            figure.add_subplot().plot([1, 2])
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("color", COLORS)
def test_colored_text_has_the_contrast_of_wcag(color: str) -> None:
    """At least 4.5 to 1 on white (WCAG 2.1, success criterion 1.4.3)."""
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in ink(color)]
    luminance = 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]
    assert 1.05 / (luminance + 0.05) >= 4.5


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.96, 0.975, 0.99], ["0.960", "0.975", "0.990"]),
        ([0.0, 2.5, 5.0], ["0", "2.5", "5.0"]),
        ([0.0, 1000.0, 2000.0], ["0", "1,000", "2,000"]),
        ([0.00025, 0.0005], ["0.00025", "0.00050"]),
        ([1e-7, 1e-3], ["1e-07", "0.001"]),
    ],
)
def test_ticks_have_the_decimals_that_their_steps_need(
    values: list[float], labels: list[str]
) -> None:
    assert tick_labels(values) == labels
