"""Sources of music: what they read, leave out, split and augment."""

import json
import random
from pathlib import Path

import pytest

from webtext_gpt.data.left_out import left_out_lines
from webtext_gpt.data.prepare import prepare_shards
from webtext_gpt.data.sources import SplitSource
from webtext_gpt.errors import UserError
from webtext_gpt.music.events import PERFORMANCE
from webtext_gpt.music.grid import CHORALE
from webtext_gpt.music.midi import write_midi
from webtext_gpt.music.notes import Note
from webtext_gpt.music.sources import Chorales, Midi

PIECE = [[60, 55, 52, 48]] * 4


def _folder(path: Path, number: int) -> Path:
    """Write pieces of ten notes."""
    draw = random.Random(0)
    for piece in range(number):
        notes = [Note(10 * i, 10 * i + 9, draw.randint(30, 90), 66) for i in range(10)]
        write_midi(path / f"{piece:02}.mid", [notes])
    return path


def _json(path: Path, **splits: list) -> str:
    path.write_text(json.dumps(splits))
    return str(path)


def _texts(source: SplitSource, split: str) -> list[str]:
    return [text for found, text in source.split_documents() if found == split]


def test_both_are_sources_that_split_themselves(tmp_path: Path) -> None:
    assert isinstance(Midi(str(_folder(tmp_path, 1)), 0.5), SplitSource)
    assert isinstance(Chorales(_json(tmp_path / "a.json", train=[PIECE])), SplitSource)


def test_a_midi_file_is_a_document(tmp_path: Path) -> None:
    source = Midi(str(_folder(tmp_path, 20)), val_fraction=0.3)
    expected = [" ".join(PERFORMANCE.from_midi(tmp_path / f"{i:02}.mid")) for i in range(20)]
    train, validation = _texts(source, "train"), _texts(source, "validation")
    assert sorted(train + validation) == sorted(expected)
    assert 2 <= len(validation) <= 12  # six expected
    summary = f"20 pieces: {len(train)} for training, {len(validation)} for validation"
    assert source.summary == [summary]
    (tmp_path / "00.mid").rename(tmp_path / "zz.mid")  # the name plays no part
    source = Midi(str(tmp_path), 0.3)
    assert sorted(_texts(source, "validation")) == sorted(validation)
    assert source.left_out == {}


def test_training_pieces_are_augmented_and_validation_pieces_are_not(tmp_path: Path) -> None:
    folder = str(_folder(tmp_path, 12))
    plain, more = Midi(folder, 0.3), Midi(folder, 0.3, transpose=2, tempo=[0.5, 1, 2])
    assert _texts(more, "validation") == _texts(plain, "validation")
    pieces, variants = _texts(plain, "train"), _texts(more, "train")
    assert len(variants) == len(set(variants)) == len(pieces) * 5 * 3
    assert set(pieces) < set(variants)
    assert f"{len(pieces)} for training x 5 transpositions x 3 tempos" in more.summary[0]
    notes = PERFORMANCE.to_notes(pieces[0].split())[0]
    # The first five are two semitones lower and half as fast; a tick more or less by rounding.
    lowest = PERFORMANCE.to_notes(variants[0].split())[0]
    assert lowest == [Note(2 * n.start, 2 * n.end, n.pitch - 2, n.velocity) for n in notes]


def test_variants_beyond_the_range_are_counted(tmp_path: Path) -> None:
    for name, pitches in {"a": (126, 60), "b": (126, 61), "c": (126, 62)}.items():
        voice = [Note(10 * i, 10 * i + 9, pitch, 64) for i, pitch in enumerate(pitches)]
        write_midi(tmp_path / f"{name}.mid", [voice])
    source = Midi(str(tmp_path), 1e-9, transpose=3, tempo=[1, 2])
    # Two of three pieces train; of seven transpositions, 126 + 2 and 126 + 3 are beyond 127.
    assert len(_texts(source, "train")) == 2 * 5 * 2
    assert source.summary[1] == "8 variants beyond MIDI's pitches left out"


@pytest.mark.parametrize("fraction", [1e-12, 1 - 1e-12])
def test_neither_split_is_empty(fraction: float, tmp_path: Path) -> None:
    source = Midi(str(_folder(tmp_path, 5)), fraction)
    counts = [len(_texts(source, "train")), len(_texts(source, "validation"))]
    assert sorted(counts) == [1, 4]
    assert (counts[0] == 1) == (fraction > 0.5)


def test_bad_files_are_named_and_the_folder_goes_on(tmp_path: Path) -> None:
    _folder(tmp_path, 4)
    (tmp_path / "bad.mid").write_bytes(b"hello")
    (tmp_path / "cut.midi").write_bytes((tmp_path / "00.mid").read_bytes()[:60])
    (tmp_path / "notes.txt").write_text("not music")
    source = Midi(str(tmp_path), 0.5)
    documents = list(source.split_documents())
    assert len(documents) == 4
    lines = left_out_lines(source.left_out)
    assert lines[0] == "2 of 6 pieces left out"
    assert "bad.mid is not a MIDI file" in lines[1]
    assert "cut.midi is cut off" in lines[2]
    assert lines[3] == "1 file with another ending left out: notes.txt"


def test_many_faults_are_not_all_printed() -> None:
    lines = left_out_lines({"pieces": 9, "faults": [str(number) for number in range(8)]})
    assert lines == ["8 of 9 pieces left out", *"01234", "... and 3 more"]


def test_notes_without_an_end_are_counted(tmp_path: Path) -> None:
    _folder(tmp_path, 2)
    data = bytearray((tmp_path / "00.mid").read_bytes())
    last = data.rindex(b"\x80")  # the last note's end becomes a change of program, and its value
    data[last : last + 3] = b"\xc0\x05\x00"  # 0x00 is the time of the end of the track then
    data[-4:] = b"\xff\x2f\x00\x00"
    (tmp_path / "00.mid").write_bytes(data)
    source = Midi(str(tmp_path), 0.5)
    assert len(list(source.split_documents())) == 2
    assert source.summary[1] == "1 note without an end last to the file's end"


@pytest.mark.parametrize(
    ("number", "message"),
    [(0, "no piece of data.path can be read; the first: .*bad.mid"), (1, "only one piece")],
)
def test_too_few_pieces_are_refused(number: int, message: str, tmp_path: Path) -> None:
    _folder(tmp_path, number)
    (tmp_path / "bad.mid").write_bytes(b"")
    with pytest.raises(UserError, match=message):
        list(Midi(str(tmp_path), 0.5).split_documents())


def test_a_folder_without_midi_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(UserError, match="is a folder without MIDI files"):
        Midi(str(tmp_path), 0.5)


def test_what_changes_the_shards_changes_the_fingerprint(tmp_path: Path) -> None:
    folder = str(_folder(tmp_path, 2))
    found = [
        Midi(folder, 0.5), Midi(folder, 0.4), Midi(folder, 0.5, transpose=1),
        Midi(folder, 0.5, tempo=[1, 2]), Midi(f"{folder}/00.mid", 0.5),
    ]  # fmt: skip
    prints = [json.dumps(source.fingerprint(), sort_keys=True) for source in found]
    path = _json(tmp_path / "a.json", train=[PIECE])
    prints += [json.dumps(Chorales(path, all_keys=t).fingerprint()) for t in (True, False)]
    assert len(set(prints)) == 7


def test_chorales_keep_the_splits_of_the_file(tmp_path: Path) -> None:
    valid, test = [[61, 55, 52, 48]], [[62, 55, 52, 48]]
    path = _json(tmp_path / "a.json", train=[PIECE], valid=[valid], test=[test])
    source = Chorales(path)
    documents = list(source.split_documents())
    assert [text for split, text in documents if split == "validation"] == ["beat S61 A55 T52 B48"]
    train = [text.split() for split, text in documents if split == "train"]
    assert [words[1] for words in train] == [f"S{60 + n}" for n in range(-5, 7)]
    assert [words[4] for words in train] == [f"B{48 + n}" for n in range(-5, 7)]
    assert source.summary == ["2 pieces: 1 for training x 12 keys, 1 for validation"]
    assert _texts(Chorales(path, all_keys=False), "train") == [" ".join(CHORALE.from_frames(PIECE))]


def test_splits_may_be_in_several_files(tmp_path: Path) -> None:
    paths = [
        _json(tmp_path / "a.json", train=[PIECE]),
        _json(tmp_path / "b.json", valid=[PIECE]),
    ]
    assert len(list(Chorales(paths).split_documents())) == 12 + 1
    with pytest.raises(UserError, match="b.json has no pieces of the split 'train'"):
        list(Chorales(paths[1]).split_documents())


def test_chorales_out_of_range_are_left_out_and_named(tmp_path: Path) -> None:
    high, near = [[100, 55, 52, 48]], [[85, 55, 52, 48]]  # 85 + 4 = 89 is beyond 88
    path = _json(tmp_path / "a.json", train=[high, near, [], PIECE], valid=[PIECE])
    source = Chorales(path)
    assert len(_texts(source, "train")) == (12 - 3) + 12
    assert left_out_lines(source.left_out) == [
        "2 of 5 pieces left out",
        f"{path}: train, piece 0 has a voice outside its range",
        f"{path}: train, piece 2 has no notes",
    ]
    assert source.summary[1] == "3 variants beyond a voice's range left out"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a file of chorales"),
        ("[]", "is not a file of chorales: Expected `object`, got `array`"),
        ("{}", "has no split"),
        ('{"dev": []}', "has a split 'dev'"),
        ('{"train": [[[60, 55, 52]]]}', r"Expected `array` of length 4 - at `\$\[...\]\[0\]"),
        ('{"train": [[[60, 55, 52, 48.5]]]}', "Expected `int`, got `float`"),
        ('{"train": [[[60, 55, 52, 48], [60, 55, 52, 128]]]}',
         "train, piece 0, sixteenth 1 has the pitch 128"),
        ('{"train": [[[60, 55, 52, -2]]]}', "has the pitch -2"),
    ],
)  # fmt: skip
def test_files_that_are_no_chorales(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=rf"a\.json.*{message}"):
        list(Chorales(str(tmp_path / "a.json")).split_documents())


def test_shards_hold_the_words(tmp_path: Path) -> None:
    path = _json(tmp_path / "a.json", train=[PIECE], valid=[PIECE])
    source = Chorales(path)
    shards = prepare_shards(source, source.tokenizer, tmp_path / "cache")
    assert shards.tokenizer.tokens() == CHORALE.tokenizer.tokens()
    texts = [shards.tokenizer.decode(d) for d in shards.split("train").documents()]
    assert texts == _texts(source, "train")
    assert shards.manifest["source"]["summary"] == source.summary


@pytest.mark.slow
def test_the_published_chorales(realdata: Path, tmp_path: Path) -> None:
    source = Chorales(str(realdata / "music/Jsb16thSeparated.json"))
    counts = {"train": 0, "validation": 0}
    for split, _ in source.split_documents():
        counts[split] += 1
    assert counts == {"train": 229 * 12, "validation": 76}
    assert source.left_out == {}
