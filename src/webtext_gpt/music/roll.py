"""Piano roll: a picture of a piece, its notes as bars over time."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import numpy as np

from webtext_gpt.commands import many_imports
from webtext_gpt.data.rows import plural
from webtext_gpt.music.notes import TICKS_PER_SECOND, Note
from webtext_gpt.pictures import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, headline, picture

VOICE_COLORS = (BLUE, ORANGE, GREEN, PURPLE, VERMILION, SKY)
"""Colors of the voices; further voices repeat them from the first."""
PALEST = 0.35
"""Position in the color map of the softest notes, which must still be visible on white."""
WIDE_RANGE = 30
"""Range in semitones above which only the Cs are named."""

_LETTERS = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")


def pitch_name(pitch: int) -> str:
    """Return the name of a MIDI pitch, where 60 is C4, middle C."""
    return f"{_LETTERS[pitch % 12]}{pitch // 12 - 1}"


def draw_roll(
    file: Path,
    title: str,
    voices: Sequence[Sequence[Note]],
    *,
    names: Sequence[str] = (),
    prompt_end: int = 0,
) -> None:
    """Draw a piano roll, 900 pixels wide, and readable at 600.

    Several voices differ in color. A single one is colored by loudness.

    Args:
        file: PNG file to write, whatever its suffix.
        title: title of the picture, before the number of its notes and seconds.
        voices: notes of each voice; a voice without notes is left out.
        names: names of the voices; without them, they are numbered.
        prompt_end: ticks from the beginning to the end of a given part, which is shaded.
    """
    with many_imports():
        from matplotlib import colormaps
        from matplotlib.collections import PolyCollection
        from matplotlib.colors import ListedColormap
        from matplotlib.patches import Patch

    labels = [name for name, _ in zip(names, voices, strict=False)]
    labels += [f"voice {number}" for number in range(len(labels) + 1, len(voices) + 1)]
    sounding = [(label, notes) for label, notes in zip(labels, voices, strict=True) if notes]
    every = [note for _, notes in sounding for note in notes]
    end = max((note.end for note in every), default=TICKS_PER_SECOND)
    with picture(file, height=3.6) as figure:
        seconds = f"{end / TICKS_PER_SECOND:.0f} s" if every else "silence"
        headline(figure, f"{title}: {plural(len(every), 'note')}, {seconds}")
        axes = figure.add_subplot()
        handles = []
        if prompt_end:
            axes.axvspan(0, prompt_end / TICKS_PER_SECOND, color="0.88", zorder=0, linewidth=0)
            handles.append(Patch(color="0.88", label="given"))
        for (label, notes), color in zip(sounding, cycle(VOICE_COLORS), strict=False):
            bars = PolyCollection([_bar(note) for note in notes], facecolors=color)
            if len(sounding) == 1:
                shades = colormaps["Blues"](np.linspace(PALEST, 1, 128))
                velocities = np.array([note.velocity for note in notes])
                loudness = ListedColormap(shades)
                bars.set(cmap=loudness, array=velocities, clim=(1, 127), facecolors=None)
                figure.colorbar(bars, ax=axes, label="loudness (velocity, 1 to 127)")
            else:
                handles.append(Patch(color=color, label=label))
            axes.add_collection(bars, autolim=False)
        low = min((note.pitch for note in every), default=60) - 2
        high = max((note.pitch for note in every), default=72) + 2
        step = 12 if high - low > WIDE_RANGE else 4
        ticks = [pitch for pitch in range(max(low, 0), high + 1) if pitch % step == 0]
        axes.set_yticks(ticks, [pitch_name(pitch) for pitch in ticks])
        axes.set_ylim(low, high)
        axes.set_xlim(0, max(end, prompt_end) / TICKS_PER_SECOND)
        axes.set_xlabel("seconds")
        axes.set_ylabel("pitch (C4 is middle C)")
        if handles:
            figure.legend(
                handles=handles, loc="outside lower center", ncols=len(handles), frameon=False
            )


def _bar(note: Note) -> list[tuple[float, float]]:
    """Return the corners of a note's bar, in seconds and semitones."""
    left, right = note.start / TICKS_PER_SECOND, note.end / TICKS_PER_SECOND
    bottom, top = note.pitch - 0.42, note.pitch + 0.42
    return [(left, bottom), (left, top), (right, top), (right, bottom)]
