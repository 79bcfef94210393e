"""The bytes of a standard MIDI file: its chunks, and the events of its tracks.

The reader is our own instead of a library's, so that files with broken names and key signatures can
be read, and every length is checked before use.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from webtext_gpt.errors import UserError

SUSTAIN = 64
"""Controller of the sustain pedal."""
LARGEST_NUMBER = 4
"""Maximum bytes of a number of variable length."""
ONE_VALUE = (0xC0, 0xD0)
"""Kinds of channel events with one value instead of two: program and pressure."""
SYSTEM = (0xF0, 0xF7)
META, META_END, META_TEMPO = 0xFF, 0x2F, 0x51


class Kind(IntEnum):
    """The kinds of events that matter for notes and their times."""

    OFF = 0
    ON = 1
    PEDAL = 2
    TEMPO = 3
    END = 4


class Event(NamedTuple):
    """An event of a track.

    Attributes:
        tick: its time, in the file's ticks.
        kind: its kind.
        channel: its channel, from zero, of events that have one.
        value: the pitch; or the microseconds of a quarter.
        level: the velocity; or the position of the pedal, 0 to 127.
    """

    tick: int
    kind: Kind
    channel: int = 0
    value: int = 0
    level: int = 0


def read_tracks(path: Path) -> tuple[int, list[list[Event]]]:
    """Return the ticks per quarter, and the events of each track; the last event is its end.

    Raises:
        UserError: the file is no MIDI file, is cut off or damaged, is of type 2, or counts time in
            frames of film.
    """
    data = path.read_bytes()
    if data[:4] != b"MThd":
        what = f"begins with {data[:4]!r}, not with b'MThd'" if data else "is empty"
        raise UserError(f"{path} is not a MIDI file: it {what}")
    chunks = _chunks(path, data)
    _, header = next(chunks, (b"", b""))
    if len(header) < 6:
        raise damaged(path, f"its header has {len(header)} bytes, not 6")
    kind, count, division = struct.unpack(">HHH", header[:6])
    if kind > 1:
        raise UserError(
            f"{path} is a MIDI file of type {kind}, whose tracks are separate pieces; convert it "
            "to files of type 0 or 1"
        )
    if division == 0 or division & 0x8000:
        how = "in frames of film (SMPTE)" if division else "in quarters of 0 ticks"
        raise UserError(f"{path} counts time {how}; convert it to ticks a quarter")
    tracks = [content for name, content in chunks if name == b"MTrk"]
    if len(tracks) < count:
        raise UserError(f"{path} is cut off: it has {len(tracks)} of {count} tracks")
    return division, [_Track(path, number, track).events() for number, track in enumerate(tracks)]


def damaged(path: Path, what: str) -> UserError:
    """Return the error about a file that breaks the rules of the format."""
    return UserError(f"{path} is damaged: {what}; take it out, or export it again")


def _chunks(path: Path, data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name and content of each chunk; fewer than 8 bytes at the end are no chunk."""
    place = 0
    while place + 8 <= len(data):
        name, length = struct.unpack_from(">4sI", data, place)
        place += 8
        if place + length > len(data):
            raise UserError(
                f"{path} is cut off: its part {name!r} has {length:,} bytes from byte {place:,}, "
                f"but the file ends at byte {len(data):,}"
            )
        yield name, data[place : place + length]
        place += length


class _Track:
    """Reads the events of a track.

    Args:
        path: the file, for messages.
        number: the number of the track, for messages.
        data: the content of its chunk.
    """

    def __init__(self, path: Path, number: int, data: bytes) -> None:
        self.path = path
        self.number = number
        self.data = data
        self.place = 0

    def events(self) -> list[Event]:
        """Return the events that matter, up to the end of the track."""
        events: list[Event] = []
        tick = running = 0
        while self.place < len(self.data):
            tick += self._number()
            status = self._byte()
            if status in SYSTEM:
                self._bytes(self._number())
            elif status == META:
                kind = self._byte()
                content = self._bytes(self._number())
                if kind == META_END:
                    break
                if kind == META_TEMPO and len(content) == 3:
                    events.append(Event(tick, Kind.TEMPO, value=int.from_bytes(content, "big")))
            else:
                if status < 0x80:  # a value: the event is of the same kind as the last one
                    self.place -= 1
                else:
                    running = status
                event = self._channel_event(tick, running)
                if event is not None:
                    events.append(event)
        events.append(Event(tick, Kind.END))
        return events

    def _channel_event(self, tick: int, status: int) -> Event | None:
        kind, channel = status & 0xF0, status & 0x0F
        if not 0x80 <= status < 0xF0:
            raise self._damaged("has no event")
        first = self._byte()
        second = 0 if kind in ONE_VALUE else self._byte()
        if first > 127 or second > 127:
            raise self._damaged("has a value above 127")
        if kind == 0x90 and second:
            return Event(tick, Kind.ON, channel, first, second)
        if kind in (0x80, 0x90):
            return Event(tick, Kind.OFF, channel, first)
        if kind == 0xB0 and first == SUSTAIN:
            return Event(tick, Kind.PEDAL, channel, level=second)
        return None

    def _byte(self) -> int:
        if self.place >= len(self.data):
            raise self._damaged("ends within an event")
        self.place += 1
        return self.data[self.place - 1]

    def _bytes(self, count: int) -> bytes:
        if self.place + count > len(self.data):
            raise self._damaged("ends within an event")
        self.place += count
        return self.data[self.place - count : self.place]

    def _number(self) -> int:
        value = 0
        for _ in range(LARGEST_NUMBER):
            byte = self._byte()
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value
        raise self._damaged(f"has a number of more than {LARGEST_NUMBER} bytes")

    def _damaged(self, what: str) -> UserError:
        return damaged(self.path, f"track {self.number} {what} at its byte {self.place:,}")
