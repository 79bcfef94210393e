"""Read and write MIDI files: the notes, and the tempo map that gives them their times.

Notes that the file does not end last until its end, and are counted.
"""

import bisect
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from webtext_gpt.errors import UserError
from webtext_gpt.files import replaced
from webtext_gpt.music.midi_file import META, META_END, META_TEMPO, Event, Kind, read_tracks
from webtext_gpt.music.notes import TICKS_PER_SECOND, Note

DRUMS = 9
"""Channel 10, counted from zero, whose pitches are drums."""
PEDAL_DOWN = 64
"""Smallest position of the sustain pedal that holds notes."""
DEFAULT_QUARTER = 500_000
"""Microseconds of a quarter in a file without a tempo."""
LONGEST_HOURS = 6
WRITTEN_QUARTER = 600_000
"""Microseconds of a quarter in files that are written: 100 quarters a minute."""
WRITTEN_TICKS = 8
"""The file's ticks in 10 ms, in files that are written: 480 a quarter."""


@dataclass
class Score:
    """The notes of a MIDI file, in its own time.

    Attributes:
        path: the file.
        ticks_per_quarter: ticks of the file in a quarter.
        tempo: the ticks at which the tempo changes, and the microseconds of a quarter from there.
        tracks: notes of each track and channel that has any, ordered by start and pitch; their
            times are the file's ticks, and a note may end where it starts. No drums.
        endless: notes that the file does not end; they end with the file.
    """

    path: Path
    ticks_per_quarter: int
    tempo: list[tuple[int, int]]
    tracks: list[list[Note]] = field(default_factory=list)
    endless: int = 0

    def voices(self) -> list[list[Note]]:
        """Return the notes of each track in ticks of 10 ms; each lasts at least one tick.

        Raises:
            UserError: the piece lasts longer than `LONGEST_HOURS`.
        """
        # Exact, in microseconds times the ticks of a quarter.
        begins = [tick for tick, _ in self.tempo]
        elapsed = [0]
        for (tick, quarter), (following, _) in pairwise(self.tempo):
            elapsed.append(elapsed[-1] + (following - tick) * quarter)
        unit = self.ticks_per_quarter * 1_000_000 // TICKS_PER_SECOND

        def at(tick: int) -> int:
            index = bisect.bisect_right(begins, tick) - 1
            begin, quarter = self.tempo[index]
            time = elapsed[index] + (tick - begin) * quarter
            return (2 * time + unit) // (2 * unit)

        voices = []
        for track in self.tracks:
            timed = []
            for note in track:
                start = at(note.start)
                timed.append(note._replace(start=start, end=max(at(note.end), start + 1)))
            voices.append(timed)
        longest = LONGEST_HOURS * 3600 * TICKS_PER_SECOND
        if (end := max(note.end for voice in voices for note in voice)) > longest:
            raise UserError(
                f"{self.path} lasts {end / TICKS_PER_SECOND / 3600:,.0f} hours, more than "
                f"{LONGEST_HOURS}: its times are probably damaged"
            )
        return voices


def read_midi(path: str | Path) -> Score:
    """Read a MIDI file of type 0 or 1.

    A note lasts until its key is released and the sustain pedal is up (Oore et al. 2018, section
    4). A note held only by the pedal also ends when its pitch is struck again. If several notes
    sound on one pitch of a track and channel, a release ends all that began before it.

    Raises:
        UserError: the file cannot be read, see `read_tracks`; or it has no notes besides drums.
    """
    path = Path(path)
    division, tracks = read_tracks(path)
    performed = _Performed()
    for number, event in sorted(
        ((number, event) for number, track in enumerate(tracks) for event in track),
        key=lambda item: item[1].tick,
    ):
        performed.take(number, event)
    score = performed.finished(path, division)
    if not score.tracks:
        besides = " besides drums" if performed.drums else ""
        raise UserError(f"{path} has no notes{besides}; leave it out")
    return score


class _Key:
    """A pitch of one track and channel.

    Attributes:
        notes: those that have ended.
        down: start and velocity of those whose key is down.
        held: start and velocity of those that the pedal alone holds.
    """

    def __init__(self, pitch: int) -> None:
        self.pitch = pitch
        self.notes: list[Note] = []
        self.down: list[tuple[int, int]] = []
        self.held: list[tuple[int, int]] = []

    def strike(self, tick: int, velocity: int) -> None:
        self.lift(tick)
        self.down.append((tick, velocity))

    def release(self, tick: int, pedal: bool) -> None:
        """Release the notes that began earlier; if there are none, those of this very tick."""
        new = [note for note in self.down if note[0] == tick]
        if len(new) < len(self.down):
            self.held += (note for note in self.down if note[0] != tick)
            self.down = new
        else:
            self.held += new
            self.down = []
        if not pedal:
            self.lift(tick)

    def lift(self, tick: int) -> None:
        """End the notes that the pedal holds."""
        self.notes += (Note(start, tick, self.pitch, velocity) for start, velocity in self.held)
        self.held = []


class _Performed:
    """Makes notes from the events of all tracks, taken in order of time."""

    def __init__(self) -> None:
        self.tempo = {0: DEFAULT_QUARTER}
        self.keys: dict[tuple[int, int], dict[int, _Key]] = {}  # by track and channel, by pitch
        self.pedals = [False] * 16
        self.drums = False
        self.last = 0

    def take(self, track: int, event: Event) -> None:
        self.last = event.tick
        if event.kind == Kind.TEMPO:
            self.tempo[event.tick] = event.value
        elif event.kind == Kind.PEDAL:
            self._move_pedal(event)
        elif event.kind in (Kind.ON, Kind.OFF) and event.channel == DRUMS:
            self.drums = True
        elif event.kind == Kind.ON:
            keys = self.keys.setdefault((track, event.channel), {})
            keys.setdefault(event.value, _Key(event.value)).strike(event.tick, event.level)
        elif event.kind == Kind.OFF:
            key = self.keys.get((track, event.channel), {}).get(event.value)
            if key is not None:
                key.release(event.tick, self.pedals[event.channel])

    def _move_pedal(self, event: Event) -> None:
        self.pedals[event.channel] = event.level >= PEDAL_DOWN
        if self.pedals[event.channel]:
            return
        for (_, channel), keys in self.keys.items():
            for key in keys.values():
                if channel == event.channel:
                    key.lift(event.tick)

    def finished(self, path: Path, division: int) -> Score:
        """End the notes that still sound, and return all notes."""
        score = Score(path, division, sorted(self.tempo.items()))
        for _, keys in sorted(self.keys.items()):
            for key in keys.values():
                score.endless += len(key.down)
                key.held += key.down
                key.lift(self.last)
            notes = (note for key in keys.values() for note in key.notes)
            score.tracks.append(sorted(notes, key=lambda note: (note.start, note.pitch)))
        return score


def write_midi(path: str | Path, voices: Sequence[Sequence[Note]]) -> None:
    """Write a MIDI file of type 1 atomically, each voice in a track and channel of its own.

    Args:
        path: destination.
        voices: their notes, in ticks of 10 ms.
    """
    tempo = bytes([0, META, META_TEMPO, 3]) + WRITTEN_QUARTER.to_bytes(3, "big")
    channels = [channel for channel in range(16) if channel != DRUMS]
    tracks = [tempo]
    for number, notes in enumerate(voices):
        channel = channels[number % len(channels)]
        events = [(note.end, 0x80 | channel, note.pitch, 0) for note in notes]
        events += [(note.start, 0x90 | channel, note.pitch, note.velocity) for note in notes]
        written, now = bytearray(), 0
        for tick, *message in sorted(events):  # a note's end before the beginning of others
            written += _number((tick - now) * WRITTEN_TICKS) + bytes(message)
            now = tick
        tracks.append(bytes(written))
    quarter = WRITTEN_QUARTER * TICKS_PER_SECOND // 1_000_000 * WRITTEN_TICKS
    data = b"MThd" + struct.pack(">IHHH", 6, 1, len(tracks), quarter)
    for track in tracks:
        complete = track + bytes([0, META, META_END, 0])
        data += b"MTrk" + struct.pack(">I", len(complete)) + complete
    with replaced(Path(path)) as partial:
        partial.write_bytes(data)


def _number(value: int) -> bytes:
    """Return a number as MIDI writes it: seven bits a byte, the top bit set in all but the last."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.insert(0, 0x80 | value & 0x7F)
    return bytes(digits)
