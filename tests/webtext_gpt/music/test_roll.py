"""The picture of a piece: where its bars are, and their colors."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from webtext_gpt.music.notes import Note
from webtext_gpt.music.roll import draw_roll, pitch_name

BLUE, ORANGE, GREY = (0, 114, 178), (230, 159, 0), (224, 224, 224)


def _columns(picture: Path, color: tuple[int, int, int]) -> tuple[int, int]:
    """Return the first and last column of the plot, without the legend, that has a color."""
    pixels = np.round(imread(picture)[:400, :, :3] * 255).astype(int)
    found = np.flatnonzero((abs(pixels - color) <= 1).all(axis=2).any(axis=0))
    return int(found[0]), int(found[-1])


def test_voices_are_bars_over_time(tmp_path: Path) -> None:
    """In two seconds, one voice sounds in the first, the other in the last half second."""
    voices = [[Note(0, 100, 72, 80)], [], [Note(150, 200, 60, 80)]]
    draw_roll(tmp_path / "a.png", "a $title", voices, names=("high", "none", "low"), prompt_end=150)
    blue, orange = _columns(tmp_path / "a.png", BLUE), _columns(tmp_path / "a.png", ORANGE)
    second = blue[1] - blue[0]
    assert orange[1] - orange[0] == pytest.approx(second / 2, abs=3)
    assert orange[0] - blue[0] == pytest.approx(1.5 * second, abs=3)
    grey = _columns(tmp_path / "a.png", GREY)
    assert grey[1] - blue[0] == pytest.approx(1.5 * second, abs=3)


def test_a_single_voice_is_colored_by_loudness(tmp_path: Path) -> None:
    shades = []
    for velocity in (1, 64, 127):
        notes = [Note(0, 100, 60, velocity)]
        draw_roll(tmp_path / "a.png", "a", [notes])
        pixels = imread(tmp_path / "a.png")
        row = pixels.shape[0] // 2 - 10
        shades.append(float(pixels[row - 40 : row + 40, 300:500, :3].mean()))
    assert shades[0] > shades[1] > shades[2]
    assert shades[0] < 0.98, "the softest note should differ from the white around it"


def test_a_piece_without_notes_is_an_empty_picture(tmp_path: Path) -> None:
    draw_roll(tmp_path / "a.png", "nothing", [[], []])
    assert imread(tmp_path / "a.png").shape[1] == 900


@pytest.mark.parametrize(
    ("pitch", "name"), [(60, "C4"), (69, "A4"), (21, "A0"), (108, "C8"), (0, "C-1"), (127, "G9")]
)
def test_names_of_pitches(pitch: int, name: str) -> None:
    assert pitch_name(pitch) == name
    assert pitch_name(61) == "C♯4"
