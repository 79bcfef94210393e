"""Scores of four voices on a grid of sixteenths, such as Bach's chorales.

Each sixteenth has one word per voice, `S60 A55 T50 B43`, from soprano to bass; a rest is `S-`. The
word `beat` precedes every four sixteenths. A pitch that continues is repeated, and so is one that
is struck again: the grid does not tell them apart.
"""

from collections.abc import Sequence
from pathlib import Path

from webtext_gpt.errors import UserError
from webtext_gpt.music.midi import Score, read_midi
from webtext_gpt.music.notes import Note
from webtext_gpt.music.vocabulary import Encoding

Frame = Sequence[int]
"""The pitches of the voices in one sixteenth, from soprano to bass; `REST` is a rest."""

REST = -1
BEAT = "beat"
SIXTEENTHS_PER_BEAT = 4
RANGES = {"S": (53, 88), "A": (45, 81), "T": (39, 76), "B": (29, 73)}
"""Lowest and highest pitch of each voice: those of Bach's chorales in all twelve keys."""
TICKS = 15
"""Length of a sixteenth: 0.15 s, for 100 quarters a minute."""
VELOCITY = 80


class Chorale(Encoding):
    """The encoding of scores of four voices."""

    name = "chorale"
    words = (
        BEAT,
        *(
            f"{voice}{pitch}"
            for voice, (lowest, highest) in RANGES.items()
            for pitch in ("-", *range(lowest, highest + 1))
        ),
    )
    note_unit = "voice in a sixteenth"
    voice_names = ("soprano", "alto", "tenor", "bass")

    def from_midi(self, path: Path) -> list[str]:
        """Return the words of a MIDI file of four voices in sixteenths.

        Raises:
            UserError: it has another number of voices; or a voice has two notes at a time, leaves
                its range, or does not keep to the sixteenths.
        """
        score = read_midi(path)
        if len(score.tracks) != len(RANGES):
            raise _unfit(path, f"it has {len(score.tracks)} voices")
        if score.ticks_per_quarter % SIXTEENTHS_PER_BEAT:
            raise _unfit(path, f"{score.ticks_per_quarter} ticks a quarter have no sixteenth")
        voices = [
            _in_sixteenths(path, score, track, name)
            for track, name in zip(score.tracks, RANGES, strict=True)
        ]
        length = max(map(len, voices))
        padded = [voice + [REST] * (length - len(voice)) for voice in voices]
        return self.from_frames(list(zip(*padded, strict=True)))

    def from_frames(self, frames: Sequence[Frame]) -> list[str]:
        """Return the words of pitches within `RANGES`, see `out_of_range`."""
        words: list[str] = []
        for number, frame in enumerate(frames):
            if number % SIXTEENTHS_PER_BEAT == 0:
                words.append(BEAT)
            words += (
                f"{voice}{'-' if pitch == REST else pitch}"
                for voice, pitch in zip(RANGES, frame, strict=True)
            )
        return words

    def to_notes(self, words: Sequence[str]) -> list[list[Note]]:
        """Return the notes of the four voices; see `Encoding.to_notes`.

        Equal pitches of a voice in successive sixteenths are one note.
        """
        voices: list[list[int]] = [[] for _ in RANGES]
        cycle = [BEAT, *RANGES, *RANGES, *RANGES, *RANGES]
        for position, word in enumerate(words):
            place = position % len(cycle)
            expected = cycle[place]
            is_beat = expected == BEAT
            if word not in self._known or not word.startswith(expected):
                raise UserError(
                    f"word {position} of the music, {word!r}, stands where "
                    f"{BEAT if is_beat else 'a pitch of voice ' + expected} is expected"
                )
            if not is_beat:
                pitch = word[1:]
                voices[(place - 1) % len(RANGES)].append(REST if pitch == "-" else int(pitch))
        return [_held(voice) for voice in voices]

    def is_note(self, word: str) -> bool:
        """Return whether a word is a voice in a sixteenth, which may be a rest."""
        return word != BEAT

    _known = frozenset(words)


def out_of_range(frames: Sequence[Frame], semitones: int = 0) -> bool:
    """Return whether a voice leaves its range in the piece transposed by some semitones."""
    return any(
        pitch != REST and not lowest <= pitch + semitones <= highest
        for frame in frames
        for pitch, (lowest, highest) in zip(frame, RANGES.values(), strict=True)
    )


def moved(frames: Sequence[Frame], semitones: int) -> list[Frame]:
    """Return a piece transposed by some semitones."""
    return [[pitch if pitch == REST else pitch + semitones for pitch in frame] for frame in frames]


def _held(pitches: Sequence[int]) -> list[Note]:
    """Return the notes of one voice from its pitch in each sixteenth."""
    notes: list[Note] = []
    for number, pitch in enumerate(pitches):
        start, end = number * TICKS, (number + 1) * TICKS
        if notes and notes[-1].end == start and notes[-1].pitch == pitch:
            notes[-1] = notes[-1]._replace(end=end)
        elif pitch != REST:
            notes.append(Note(start, end, pitch, VELOCITY))
    return notes


def _in_sixteenths(path: Path, score: Score, track: Sequence[Note], name: str) -> list[int]:
    """Return the pitch of a voice in each sixteenth up to the end of its last note."""
    ticks = score.ticks_per_quarter // SIXTEENTHS_PER_BEAT
    lowest, highest = RANGES[name]
    pitches: list[int] = []
    for note in track:
        (start, late), (end, later) = divmod(note.start, ticks), divmod(note.end, ticks)
        where = f"in voice {name}, the note of pitch {note.pitch} at tick {note.start}"
        if late or later or start == end:
            raise _unfit(path, f"{where} does not begin and end with a sixteenth of {ticks} ticks")
        if start < len(pitches):
            raise _unfit(path, f"{where} begins before the note that precedes it has ended")
        if not lowest <= note.pitch <= highest:
            raise _unfit(path, f"{where} is outside the range of {lowest} to {highest}")
        pitches += [REST] * (start - len(pitches)) + [note.pitch] * (end - start)
    return pitches


def _unfit(path: Path, what: str) -> UserError:
    return UserError(
        f"{path}: {what}; a chorale is four voices in four tracks, from soprano to bass, each with "
        "one note at a time, in whole sixteenths"
    )


CHORALE = Chorale()
