"""Performances as events (Oore et al. 2018, "This Time with Feeling", section 4).

`on60` and `off60` start and end a pitch, `shift100` moves 100 ticks of 10 ms ahead, `vel16` sets
the velocity of the notes that follow: 128 + 128 + 100 + 32 words. All instruments are one stream.

The words of a list of notes are unique: within a tick, notes end before others begin, each in order
of pitch; a silence is as few shifts as possible; a velocity is given where it changes. Silence
after the last note is left out.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from webtext_gpt.errors import UserError
from webtext_gpt.music.midi import read_midi
from webtext_gpt.music.notes import N_PITCHES, Note, merged
from webtext_gpt.music.vocabulary import Encoding

LONGEST_SHIFT = 100
"""Ticks of the longest shift: one second."""
N_VELOCITIES = 32
VELOCITIES_PER_WORD = 128 // N_VELOCITIES
DEFAULT_VELOCITY = 64
"""Velocity of notes before the first velocity word; MIDI's value for keyboards without velocity."""


class Performance(Encoding):
    """The encoding of performances."""

    name = "performance"
    words = (
        *(f"on{pitch}" for pitch in range(N_PITCHES)),
        *(f"off{pitch}" for pitch in range(N_PITCHES)),
        *(f"shift{ticks}" for ticks in range(1, LONGEST_SHIFT + 1)),
        *(f"vel{level}" for level in range(N_VELOCITIES)),
    )
    note_unit = "note-on event"

    def from_midi(self, path: Path) -> list[str]:
        """Return the words of a MIDI file: all of its instruments but the drums."""
        return self.from_notes(read_midi(path).voices())

    def from_notes(self, voices: Iterable[Iterable[Note]]) -> list[str]:
        """Return the words of notes; those of several voices are merged, see `notes.merged`."""
        events: list[tuple[int, bool, int, int]] = []
        for note in merged(voices):
            events.append((note.start, True, note.pitch, note.velocity // VELOCITIES_PER_WORD))
            events.append((note.end, False, note.pitch, 0))
        words: list[str] = []
        now, level = 0, -1
        for tick, begins, pitch, new_level in sorted(events):
            seconds, rest = divmod(tick - now, LONGEST_SHIFT)
            words += [f"shift{LONGEST_SHIFT}"] * seconds
            if rest:
                words.append(f"shift{rest}")
            now = tick
            if begins and new_level != level:
                words.append(f"vel{new_level}")
                level = new_level
            words.append(f"on{pitch}" if begins else f"off{pitch}")
        return words

    def to_notes(self, words: Sequence[str]) -> list[list[Note]]:
        """Return the notes as one voice; see `Encoding.to_notes`.

        A velocity word stands for four velocities, and becomes one in their middle. Notes still
        sounding at the end of the words end there; each note lasts at least one tick.
        """
        notes: list[Note] = []
        sounding: dict[int, tuple[int, int]] = {}
        now, velocity = 0, DEFAULT_VELOCITY
        for position, word in enumerate(words):
            kind = word.rstrip("0123456789")
            if word not in self._known:
                raise _wrong(position, word, "is not one of the words of a performance")
            value = int(word[len(kind) :])
            if kind == "shift":
                now += value
            elif kind == "vel":
                velocity = value * VELOCITIES_PER_WORD + VELOCITIES_PER_WORD // 2
            elif kind == "on":
                if value in sounding:
                    raise _wrong(position, word, "begins a pitch that already sounds")
                sounding[value] = now, velocity
            elif value in sounding:
                start, loudness = sounding.pop(value)
                notes.append(Note(start, max(now, start + 1), value, loudness))
            else:
                raise _wrong(position, word, "ends a pitch that does not sound")
        notes += (
            Note(start, max(now, start + 1), pitch, loudness)
            for pitch, (start, loudness) in sounding.items()
        )
        return [merged([notes])]

    def is_note(self, word: str) -> bool:
        """Return whether a word begins a note."""
        return word.startswith("on")

    _known = frozenset(words)


def _wrong(position: int, word: str, what: str) -> UserError:
    return UserError(f"word {position} of the music, {word!r}, {what}")


PERFORMANCE = Performance()
