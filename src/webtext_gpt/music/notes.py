"""Notes on a grid of 10 ms: merged, transposed and stretched."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

TICKS_PER_SECOND = 100
N_PITCHES = 128


class Note(NamedTuple):
    """A note. Its times are ticks of 10 ms, except in a `midi.Score`, which says so.

    Attributes:
        start: tick at which it begins.
        end: tick at which it ends, after `start`.
        pitch: MIDI number, 0 to 127; 60 is middle C.
        velocity: loudness, 1 to 127.
    """

    start: int
    end: int
    pitch: int
    velocity: int


def merged(voices: Iterable[Iterable[Note]]) -> list[Note]:
    """Return the notes of all voices as one list in which a pitch sounds at most once at a time.

    Notes that begin together on one pitch become one note, with the longest length and the loudest
    velocity. A pitch that is struck again while it sounds ends there, and the new note lasts until
    both would have ended. So a pitch sounds exactly when one of the voices sounds it.

    Returns:
        The notes, ordered by start, then by pitch.
    """
    last: dict[int, Note] = {}
    done: list[Note] = []
    for note in sorted(note for voice in voices for note in voice):
        before = last.get(note.pitch)
        if before is not None and before.start == note.start:
            loudest = max(before.velocity, note.velocity)
            last[note.pitch] = note._replace(end=max(before.end, note.end), velocity=loudest)
            continue
        if before is not None:
            done.append(before._replace(end=min(before.end, note.start)))
            note = note._replace(end=max(before.end, note.end))  # noqa: PLW2901
        last[note.pitch] = note
    return sorted([*done, *last.values()], key=lambda note: (note.start, note.pitch))


def transposed(notes: Sequence[Note], semitones: int) -> list[Note] | None:
    """Return notes transposed by some semitones, or None if one would leave MIDI's range."""
    if any(not 0 <= note.pitch + semitones < N_PITCHES for note in notes):
        return None
    return [note._replace(pitch=note.pitch + semitones) for note in notes]


def stretched(notes: Iterable[Note], tempo: float) -> list[Note]:
    """Return notes played faster by a factor, at the nearest ticks; each lasts at least a tick."""
    played = []
    for note in notes:
        start = round(note.start / tempo)
        played.append(note._replace(start=start, end=max(start + 1, round(note.end / tempo))))
    return merged([played])
