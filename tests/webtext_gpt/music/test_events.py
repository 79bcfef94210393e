"""Performances: the words of notes, worked out by hand, and the way back."""

import random
from pathlib import Path

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.music.events import PERFORMANCE
from webtext_gpt.music.midi import write_midi
from webtext_gpt.music.notes import Note, merged, stretched, transposed


def test_the_vocabulary_of_the_paper() -> None:
    assert len(PERFORMANCE.words) == len(set(PERFORMANCE.words)) == 128 + 128 + 100 + 32


def test_words_by_hand() -> None:
    chord = [Note(5, 30, 64, 80), Note(5, 30, 60, 80)]
    late = [Note(30, 31, 60, 83), Note(281, 282, 0, 127)]
    expected = (
        "shift5 vel20 on60 on64 shift25 off60 off64 on60 shift1 off60 "  # 80 // 4 = 83 // 4 = 20
        "shift100 shift100 shift50 vel31 on0 shift1 off0"
    )
    assert PERFORMANCE.from_notes([chord, late]) == expected.split()


def test_notes_by_hand() -> None:
    words = ["vel0", "on60", "shift3", "vel31", "on64", "off60", "shift100", "off64"]
    assert PERFORMANCE.to_notes(words) == [[Note(0, 3, 60, 2), Note(3, 103, 64, 126)]]


def test_words_that_break_off_and_a_note_before_any_velocity() -> None:
    words = ["on60", "shift3", "on64"]
    assert PERFORMANCE.to_notes(words) == [[Note(0, 3, 60, 64), Note(3, 4, 64, 64)]]
    assert PERFORMANCE.to_notes([]) == [[]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("on60 shift1 on60", "word 2 of the music, 'on60', begins a pitch that already sounds"),
        ("off60", "word 0 of the music, 'off60', ends a pitch that does not sound"),
        ("on60 shift101", "word 1 of the music, 'shift101', is not one of the words"),
        ("on060", "is not one of the words"),
        ("beat", "is not one of the words"),
    ],
)
def test_words_against_the_grammar(words: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        PERFORMANCE.to_notes(words.split())


def test_instruments_in_unison_sound_as_long_as_one_of_them_does() -> None:
    flute, strings = [Note(0, 10, 60, 50)], [Note(0, 4, 60, 90), Note(6, 8, 60, 20)]
    assert merged([flute, strings]) == [Note(0, 6, 60, 90), Note(6, 10, 60, 20)]


@pytest.mark.parametrize("seed", range(20))
def test_a_pitch_sounds_when_a_voice_sounds_it(seed: int) -> None:
    draw = random.Random(seed)
    voices = [
        [
            Note(start := draw.randrange(60), start + draw.randint(1, 30), draw.randint(60, 63), 64)
            for _ in range(8)
        ]
        for _ in range(3)
    ]
    one = merged(voices)
    sounding = {(t, n.pitch) for voice in voices for n in voice for t in range(n.start, n.end)}
    times = [(t, n.pitch) for n in one for t in range(n.start, n.end)]
    assert len(times) == len(set(times))
    assert set(times) == sounding
    starts = {(n.start, n.pitch) for voice in voices for n in voice}
    assert {(n.start, n.pitch) for n in one} == starts


@pytest.mark.parametrize("seed", range(20))
def test_midi_to_words_to_midi_to_words(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    voices = [
        [
            Note(
                start := draw.randrange(2000),
                start + draw.randint(1, 400),
                draw.randrange(128),
                draw.randint(1, 127),
            )
            for _ in range(60)
        ]
        for _ in range(3)
    ]
    write_midi(tmp_path / "a.mid", [merged([voice]) for voice in voices])
    words = PERFORMANCE.from_midi(tmp_path / "a.mid")
    notes = PERFORMANCE.to_notes(words)
    # The same notes but for the velocity, of which the word keeps the quarter.
    assert [(*n[:3], n.velocity // 4) for n in notes[0]] == [
        (*n[:3], n.velocity // 4) for n in merged(merged([voice]) for voice in voices)
    ]
    write_midi(tmp_path / "b.mid", notes)
    assert PERFORMANCE.from_midi(tmp_path / "b.mid") == words


def test_a_note_is_its_beginning() -> None:
    words = ["vel20", "on60", "shift9", "off60", "on62", "shift9", "off62"]
    assert sum(map(PERFORMANCE.is_note, words)) == 2


def test_transposition_and_tempo() -> None:
    notes = [Note(10, 20, 60, 64), Note(20, 21, 67, 64)]
    assert transposed(notes, 60) == [Note(10, 20, 120, 64), Note(20, 21, 127, 64)]
    assert transposed(notes, 61) is None
    assert transposed(notes, -61) is None
    # Twice as fast: 5 to 10, and 10 to round(10.5) = 10, which becomes 11.
    assert stretched(notes, 2.0) == [Note(5, 10, 60, 64), Note(10, 11, 67, 64)]
    assert stretched(notes, 0.5) == [Note(20, 40, 60, 64), Note(40, 42, 67, 64)]
