"""MIDI files: read byte by byte as the specification says, and as other libraries read them."""

import random
import struct
from pathlib import Path

import mido
import pretty_midi
import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.music.midi import read_midi, write_midi
from webtext_gpt.music.notes import Note

ON, OFF, PEDAL, TEMPO, END = 0x90, 0x80, 0xB0, b"\xff\x51\x03", b"\x00\xff\x2f\x00"


def _file(path: Path, *tracks: bytes, kind: int = 1, division: int = 100, count: int = -1) -> Path:
    """Write a file whose tracks are given as bytes; 100 ticks are a quarter, which lasts 0.5 s."""
    count = len(tracks) if count < 0 else count
    data = b"MThd" + struct.pack(">IHHH", 6, kind, count, division)
    data += b"".join(b"MTrk" + struct.pack(">I", len(track)) + track for track in tracks)
    path.write_bytes(data)
    return path


def _voices(path: Path) -> list[list[Note]]:
    return read_midi(path).voices()


def test_a_note_by_its_bytes(tmp_path: Path) -> None:
    # 40 ticks at 100 a quarter of 0.5 s are 0.2 s; 0x81 0x00 is 128 ticks, which end at 0.84 s.
    track = bytes([40, ON, 60, 70, 0x81, 0x00, OFF, 60, 64]) + END
    assert _voices(_file(tmp_path / "a.mid", track)) == [[Note(20, 84, 60, 70)]]


def test_running_status_and_a_velocity_of_zero(tmp_path: Path) -> None:
    track = bytes([0, ON, 60, 70, 10, 60, 0, 0, 62, 71, 10, 62, 0]) + END
    assert _voices(_file(tmp_path / "a.mid", track)) == [[Note(0, 5, 60, 70), Note(5, 10, 62, 71)]]


def test_other_events_are_passed_over(tmp_path: Path) -> None:
    passed = (
        b"\x00\xff\x59\x02\x63\x63"  # a key signature of 99 sharps
        b"\x00\xf0\x03\x01\x02\xf7"  # system exclusive
        b"\x00\xc0\x05\x00\xd0\x20\x00\xe0\x00\x40\x00\xb0\x07\x7f"  # program to volume
    )
    track = passed + bytes([2, ON, 60, 70, 2, OFF, 60, 0]) + END
    assert _voices(_file(tmp_path / "a.mid", track)) == [[Note(1, 2, 60, 70)]]


def test_the_tempo_map_of_another_track(tmp_path: Path) -> None:
    # 100 ticks of 5 ms, then a quarter lasts 1 s: 100 ticks of 10 ms.
    tempo = b"\x64" + TEMPO + (1_000_000).to_bytes(3, "big") + END
    track = bytes([50, ON, 60, 70, 100, OFF, 60, 0]) + END
    # 50 ticks = 0.25 s; the end: 0.5 s + 50 ticks of 10 ms = 1 s.
    assert _voices(_file(tmp_path / "a.mid", tempo, track)) == [[Note(25, 100, 60, 70)]]


def test_channels_and_tracks_are_voices_and_drums_are_none(tmp_path: Path) -> None:
    both = bytes([0, ON, 60, 70, 0, ON | 3, 72, 71, 0, ON | 9, 35, 99, 2, OFF, 60, 0])
    both += bytes([0, OFF | 3, 72, 0, 0, OFF | 9, 35, 0]) + END
    other = bytes([0, ON, 50, 72, 2, OFF, 50, 0]) + END
    found = _voices(_file(tmp_path / "a.mid", both, other))
    assert found == [[Note(0, 1, 60, 70)], [Note(0, 1, 72, 71)], [Note(0, 1, 50, 72)]]


def test_the_pedal_holds_notes(tmp_path: Path) -> None:
    track = bytes([0, PEDAL, 64, 127, 0, ON, 60, 70, 10, OFF, 60, 0])  # released at 0.05 s
    track += bytes([10, ON, 62, 71, 10, OFF, 62, 0, 10, ON, 62, 72])  # struck again at 0.2 s
    track += bytes([20, PEDAL, 64, 63, 20, OFF, 62, 0]) + END  # the pedal is up at 0.3 s
    expected = [Note(0, 30, 60, 70), Note(10, 20, 62, 71), Note(20, 40, 62, 72)]
    assert _voices(_file(tmp_path / "a.mid", track)) == [expected]


def test_the_pedal_of_another_channel_holds_nothing(tmp_path: Path) -> None:
    track = bytes([0, PEDAL | 1, 64, 127, 0, ON, 60, 70, 10, OFF, 60, 0, 10, PEDAL | 1, 64, 0])
    assert _voices(_file(tmp_path / "a.mid", track + END)) == [[Note(0, 5, 60, 70)]]


def test_a_release_ends_all_notes_of_its_pitch(tmp_path: Path) -> None:
    track = bytes([0, ON, 60, 70, 10, ON, 60, 71, 10, OFF, 60, 0, 10, OFF, 60, 0]) + END
    assert _voices(_file(tmp_path / "a.mid", track)) == [[Note(0, 10, 60, 70), Note(5, 10, 60, 71)]]


def test_an_end_written_after_the_next_beginning(tmp_path: Path) -> None:
    track = bytes([0, ON, 60, 70, 10, ON, 60, 71, 0, OFF, 60, 0, 10, OFF, 60, 0]) + END
    assert _voices(_file(tmp_path / "a.mid", track)) == [[Note(0, 5, 60, 70), Note(5, 10, 60, 71)]]


def test_a_note_without_length_lasts_a_tick(tmp_path: Path) -> None:
    track = bytes([20, ON, 60, 70, 0, OFF, 60, 0]) + END
    assert _voices(_file(tmp_path / "a.mid", track)) == [[Note(10, 11, 60, 70)]]


def test_notes_that_never_end_last_to_the_files_end_and_are_counted(tmp_path: Path) -> None:
    track = bytes([0, ON, 60, 70, 20, ON, 64, 71, 20, OFF, 64, 0])
    score = read_midi(_file(tmp_path / "a.mid", track + b"\x14\xff\x2f\x00"))  # 20 ticks later
    assert score.voices() == [[Note(0, 30, 60, 70), Note(10, 20, 64, 71)]]
    assert score.endless == 1


def test_a_tempo_map_of_thousands_of_changes_as_pretty_midi_reads_it(tmp_path: Path) -> None:
    draw = random.Random(5)
    file = mido.MidiFile(ticks_per_beat=96)
    tempo, notes = mido.MidiTrack(), mido.MidiTrack()
    file.tracks += [tempo, notes]
    for _ in range(5000):
        tempo.append(mido.MetaMessage("set_tempo", tempo=draw.randint(200_000, 900_000), time=7))
    for number in range(300):
        pitch = 40 + number % 48
        notes.append(mido.Message("note_on", note=pitch, velocity=70, time=draw.randint(0, 100)))
        notes.append(mido.Message("note_off", note=pitch, time=draw.randint(20, 60)))
    file.save(tmp_path / "a.mid")
    theirs = pretty_midi.PrettyMIDI(str(tmp_path / "a.mid")).instruments[0].notes
    ours = _voices(tmp_path / "a.mid")[0]
    assert [n.pitch for n in ours] == [n.pitch for n in theirs]
    for note, other in zip(ours, theirs, strict=True):  # seconds; half a tick, and their rounding
        assert abs(note.start / 100 - other.start) <= 0.005 + 1e-6
        assert abs(note.end / 100 - other.end) <= 0.005 + 1e-6


def test_files_that_are_written_as_pretty_midi_and_mido_read_them(tmp_path: Path) -> None:
    voices = [[Note(0, 15, 60, 80), Note(15, 31, 60, 81)], [Note(7, 300, 43, 1)], []]
    write_midi(tmp_path / "a.mid", voices)
    theirs = pretty_midi.PrettyMIDI(str(tmp_path / "a.mid"))
    found = [
        [(round(n.start * 100, 6), round(n.end * 100, 6), n.pitch, n.velocity) for n in i.notes]
        for i in theirs.instruments
    ]
    assert found == [[tuple(n) for n in voice] for voice in voices if voice]
    written = mido.MidiFile(tmp_path / "a.mid")
    assert (written.type, len(written.tracks)) == (1, 4)
    assert written.length == pytest.approx(3.0)  # seconds
    assert _voices(tmp_path / "a.mid") == [voice for voice in voices if voice]


def test_no_voice_is_written_as_drums(tmp_path: Path) -> None:
    write_midi(tmp_path / "a.mid", [[Note(0, 1, 60, 80)]] * 20)
    tracks = mido.MidiFile(tmp_path / "a.mid").tracks
    channels = [track[0].channel for track in tracks if track[0].type == "note_on"]
    assert len(channels) == 20
    assert 9 not in channels


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not a MIDI file: it is empty"),
        (b"RIFF....", "is not a MIDI file: it begins with b'RIFF'"),
        (b"MThd", "is damaged: its header has 0 bytes"),
        (b"MThd\x00\x00\x00\x06\x00\x01", "is cut off"),
    ],
)
def test_files_that_are_no_midi_files(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.mid").write_bytes(data)
    with pytest.raises(UserError, match=f"a.mid {message}"):
        read_midi(tmp_path / "a.mid")


NOTE = bytes([0, ON, 60, 70, 10, OFF, 60, 0])


@pytest.mark.parametrize(
    ("track", "options", "message"),
    [
        (NOTE + END, {"kind": 2}, "of type 2"),
        (NOTE + END, {"division": 0xE728}, "in frames of film"),
        (NOTE + END, {"division": 0}, "in quarters of 0 ticks"),
        (NOTE + END, {"count": 3}, "is cut off: it has 1 of 3 tracks"),
        (END, {}, "has no notes; leave it out"),
        (bytes([0, ON | 9, 35, 70, 10, OFF | 9, 35, 0]) + END, {}, "has no notes besides drums"),
        (NOTE + b"\x00\xff\x03\x09abc", {}, "track 0 ends within an event at its byte 12"),
        (NOTE + b"\x00\x90\x3c", {}, "track 0 ends within an event"),
        (b"\x00\x3c\x3c", {}, "track 0 has no event at its byte 1"),
        (bytes([0, ON, 60, 0x87, 0]), {}, "has a value above 127"),
        (b"\xff\xff\xff\xff\x7f", {}, "has a number of more than 4 bytes"),
    ],
)
def test_files_that_cannot_be_used(
    track: bytes, options: dict[str, int], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=f"a.mid.*{message}"):
        read_midi(_file(tmp_path / "a.mid", track, **options))


def test_a_piece_of_days_is_refused(tmp_path: Path) -> None:
    # 2**27 ticks of 5 ms are 186 hours.
    track = NOTE + b"\xc0\x80\x80\x00" + NOTE[1:] + END
    with pytest.raises(UserError, match="lasts 186 hours"):
        _voices(_file(tmp_path / "a.mid", track))


def test_damaged_files_give_messages_and_never_crash(tmp_path: Path) -> None:
    draw = random.Random(0)
    write_midi(tmp_path / "a.mid", [[Note(i, i + 9, 40 + i % 40, 80) for i in range(40)]] * 3)
    whole = (tmp_path / "a.mid").read_bytes()
    refused = 0
    for _ in range(1000):
        data = bytearray(whole)
        for _ in range(draw.randint(0, 5)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        (tmp_path / "b.mid").write_bytes(
            data[: draw.choice([len(data), draw.randrange(len(data))])]
        )
        try:
            notes = [note for voice in _voices(tmp_path / "b.mid") for note in voice]
        except UserError as error:
            refused += str(tmp_path / "b.mid") in str(error)
        else:
            assert all(0 <= n.start < n.end and 0 <= n.pitch < 128 for n in notes)
    assert 500 < refused < 1000  # half of the files are cut off, and some of the others damaged
