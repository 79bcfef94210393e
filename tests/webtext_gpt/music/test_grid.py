"""Chorales on a grid of sixteenths, and their words."""

import random
import re
from pathlib import Path

import mido
import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.music.events import PERFORMANCE
from webtext_gpt.music.grid import CHORALE, moved, out_of_range
from webtext_gpt.music.midi import write_midi
from webtext_gpt.music.notes import Note
from webtext_gpt.music.vocabulary import encoding_of, word_tokenizer
from webtext_gpt.tokenizer import EncodingError, Tokenizer, train_bpe

FRAMES = [[60, 55, 52, 48]] * 2 + [[62, -1, 52, 48]] * 3
TEXT = "beat S60 A55 T52 B48 S60 A55 T52 B48 S62 A- T52 B48 S62 A- T52 B48 beat S62 A- T52 B48"
WORDS = TEXT.split()


def test_words_by_hand() -> None:
    assert CHORALE.from_frames(FRAMES) == WORDS
    # beat; 36, 37, 38 and 45 pitches, and a rest of each voice
    assert len(CHORALE.words) == len(set(CHORALE.words)) == 1 + 36 + 37 + 38 + 45 + 4
    assert sum(map(CHORALE.is_note, WORDS)) == 5 * 4


def test_notes_by_hand() -> None:
    soprano = [Note(0, 30, 60, 80), Note(30, 75, 62, 80)]  # a sixteenth is 15 ticks of 10 ms
    others = [[Note(0, 30, 55, 80)], [Note(0, 75, 52, 80)], [Note(0, 75, 48, 80)]]
    assert CHORALE.to_notes(WORDS) == [soprano, *others]


def test_a_rest_parts_two_notes_of_one_pitch() -> None:
    frames = [[60, 55, 52, 48], [-1, 55, 52, 48], [60, 55, 52, 48]]
    soprano = CHORALE.to_notes(CHORALE.from_frames(frames))[0]
    assert soprano == [Note(0, 15, 60, 80), Note(30, 45, 60, 80)]


def test_words_that_break_off() -> None:
    assert CHORALE.to_notes(WORDS[:3]) == [[Note(0, 15, 60, 80)], [Note(0, 15, 55, 80)], [], []]
    assert CHORALE.to_notes([]) == [[], [], [], []]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("S60", "word 0 of the music, 'S60', stands where beat is expected"),
        ("beat A55", "word 1 of the music, 'A55', stands where a pitch of voice S is expected"),
        ("beat S60 A55 T52 beat", "'beat', stands where a pitch of voice B"),
        ("beat S99", "'S99', stands where a pitch of voice S"),
    ],
)
def test_words_against_the_grammar(words: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        CHORALE.to_notes(words.split())


def test_ranges_and_keys() -> None:
    assert not out_of_range([[53, 45, 39, 29], [88, 81, 76, 73], [-1, -1, -1, -1]])
    for voice, pitch in enumerate((89, 44, 77, 28)):
        frame = [60, 55, 52, 48]
        frame[voice] = pitch
        assert out_of_range([frame])
    assert out_of_range(FRAMES, 27)  # 62 + 27 = 89
    assert not out_of_range(FRAMES, 24)
    assert moved(FRAMES[1:3], -2) == [[58, 53, 50, 46], [60, -1, 50, 46]]


@pytest.mark.parametrize("seed", range(10))
def test_words_to_midi_to_words(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    frames = [
        [draw.choice([-1, 60, 62]), draw.choice([55, 57]), draw.choice([50, 52]), 48]
        for _ in range(draw.randint(1, 40))
    ]
    words = CHORALE.from_frames(frames)
    write_midi(tmp_path / "a.mid", CHORALE.to_notes(words))
    if any(frame[0] != -1 for frame in frames):
        assert CHORALE.from_midi(tmp_path / "a.mid") == words


def _voices(path: Path, ticks: int = 120, voices: int = 4, **note: int) -> Path:
    """Write four voices of one quarter each with mido, the soprano's changed."""
    file = mido.MidiFile(ticks_per_beat=480)
    for number in range(voices):
        own = note if number == 0 else {}
        pitch, start, length = (
            own.get("pitch", (60, 55, 52, 48)[number % 4]),
            own.get("start", 0),
            own.get("length", ticks * 4),
        )
        track = mido.MidiTrack()
        track.append(mido.Message("note_on", note=pitch, velocity=9, time=start))
        track.append(mido.Message("note_off", note=pitch, time=length))
        file.tracks.append(track)
    file.save(path)
    return path


def test_a_midi_file_of_another_program(tmp_path: Path) -> None:
    words = CHORALE.from_midi(_voices(tmp_path / "a.mid", start=240, length=120))
    frames = [[p, 55, 52, 48] for p in (-1, -1, 60, -1)]
    assert words == CHORALE.from_frames(frames)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"voices": 3}, "it has 3 voices"),
        ({"start": 100}, "the note of pitch 60 at tick 100 does not begin and end with"),
        ({"length": 100}, "does not begin and end with a sixteenth of 120 ticks"),
        ({"length": 0}, "does not begin and end with"),
        ({"pitch": 90}, "in voice S, the note of pitch 90 at tick 0 is outside the range"),
    ],
)
def test_midi_files_that_are_no_chorales(
    changed: dict[str, int], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        CHORALE.from_midi(_voices(tmp_path / "a.mid", **changed))


def test_a_voice_with_two_notes_at_a_time_is_refused(tmp_path: Path) -> None:
    alto, tenor, bass = [Note(0, 30, 55, 80)], [Note(0, 30, 52, 80)], [Note(0, 30, 48, 80)]
    soprano = [Note(0, 30, 60, 80), Note(15, 30, 64, 80)]
    write_midi(tmp_path / "a.mid", [soprano, alto, tenor, bass])
    with pytest.raises(UserError, match="begins before the note that precedes it has ended"):
        CHORALE.from_midi(tmp_path / "a.mid")


def test_the_tokenizer_is_one_token_a_word() -> None:
    text = " ".join(WORDS)
    tokenizer = CHORALE.tokenizer
    ids = tokenizer.encode(text)
    assert ids == [CHORALE.words.index(word) for word in WORDS]
    assert tokenizer.end_of_text == len(CHORALE.words)
    assert tokenizer.decode(ids) == text
    decode = tokenizer.incremental_decoder()
    assert "".join(map(decode, ids)) == text
    assert [text[start:].split()[0] for start in tokenizer.starts(text)] == WORDS


def test_an_encoding_is_known_by_its_tokenizer(tmp_path: Path) -> None:
    for encoding in (CHORALE, PERFORMANCE):
        encoding.tokenizer.save(tmp_path / "tokenizer.json")
        assert encoding_of(Tokenizer.load(tmp_path / "tokenizer.json")) is encoding
    assert encoding_of(train_bpe(["some text"], vocab_size=260)) is None
    assert encoding_of(word_tokenizer(CHORALE.words[::-1])) is None  # the same words, other ids


@pytest.mark.parametrize("word", ["S99", "<|endoftext|>", "b" * 100])
def test_an_unknown_word_is_named(word: str) -> None:
    with pytest.raises(EncodingError, match=re.escape(f"word 1, '{word[:40]}', is not one of")):
        CHORALE.tokenizer.encode(f"beat {word}")
