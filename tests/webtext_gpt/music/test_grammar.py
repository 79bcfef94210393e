"""The grammars: events they allow and refuse, and a long random piece."""

import random
from pathlib import Path

import mido
import pytest

from webtext_gpt.music.chorales import fault_of, read_chorales
from webtext_gpt.music.events import PERFORMANCE
from webtext_gpt.music.grammar import Grammar, grammar_of
from webtext_gpt.music.grid import CHORALE
from webtext_gpt.music.midi import write_midi
from webtext_gpt.music.notes import Note
from webtext_gpt.music.vocabulary import Encoding

END = "<|endoftext|>"
BEAT = "beat" + " S60 A57 T52 B45" * 4
LONG = " ".join(["vel9 on60", *["shift100"] * 4, "shift80"])


def _allowed(encoding: Encoding, given: str) -> set[str]:
    grammar = _after(encoding, given.split())
    return _words(encoding, grammar)


def _after(encoding: Encoding, words: list[str]) -> Grammar:
    grammar = grammar_of(encoding)
    for token in encoding.tokenizer.encode(" ".join(words)):
        assert not grammar.add(token)
    return grammar


def _words(encoding: Encoding, grammar: Grammar) -> set[str]:
    mask = grammar.allowed()
    assert mask.shape == (encoding.tokenizer.vocab_size,)
    every = {token: word for word, token in encoding.tokenizer.tokens().items()}
    return {every[token] for token in mask.nonzero()[:, 0].tolist()}


@pytest.mark.parametrize(
    ("given", "allowed", "refused"),
    [
        ("", "vel0 vel31 shift1 shift100", f"on60 off60 {END}"),
        ("vel9", "on0 on127", f"off60 vel8 shift1 {END}"),
        ("vel9 on60", "on61 on127 vel8 shift1 shift100", f"vel9 on60 on59 off60 off59 {END}"),
        ("vel9 on60 shift5", "off60 on59 on61 vel8", f"on60 off61 vel9 shift1 {END}"),
        ("vel9 on60 shift100", "off60 on59 on61 vel8 shift1 shift100", f"on60 off61 {END}"),
        ("vel9 on60 shift5 off60", f"on60 on59 shift1 vel8 {END}", "off60 vel9"),
        ("vel9 on60 on64 shift5 off64", "on64 on62 shift1", f"off60 on60 {END}"),
        ("vel9 on60 on64 shift5 off60", "off64 on60 shift1", f"on64 {END}"),
        ("vel9 on60 shift5 off60 shift5", "on60 vel8", f"off60 shift1 {END}"),
        ("vel9 on127", "shift1", "vel8 on126 off127"),
        (LONG, "off60", f"on61 vel8 shift1 {END}"),
        (LONG.replace("80", "79"), "off60 on61 vel8", "shift1"),
        (LONG.replace("shift80", "shift100"), "off60", "on61 shift1"),  # a given long note
        (LONG.replace("on60", "on60 on62"), "off60", "off62 on61 shift1"),
        (
            "vel9 on60 shift80 on50 shift100 shift100 shift100 shift100",
            "off50 off60",
            "shift1 on40",
        ),
        ("vel9 on60 shift80 on70 shift100 shift100 shift100 shift100", "off60", "off70 shift1"),
        ("vel9 on60 shift80 on50 shift100 shift100 shift100 shift100 off50", "off60", "shift1"),
        ("vel9 on60 shift10 on50 shift100 shift100 shift100 shift100", "shift70", "shift71"),
    ],
)
def test_what_a_performance_allows(given: str, allowed: str, refused: str) -> None:
    found = _allowed(PERFORMANCE, given)
    assert set(allowed.split()) <= found
    assert not found & set(refused.split())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", {"beat"}),
        ("beat", {"S-", *(f"S{pitch}" for pitch in range(53, 89))}),
        ("beat S60", {"A-", *(f"A{pitch}" for pitch in range(45, 82))}),
        ("beat S60 A57 T52", {"B-", *(f"B{pitch}" for pitch in range(29, 74))}),
        ("beat S60 A57 T52 B45", {"S-", *(f"S{pitch}" for pitch in range(53, 89))}),
        (BEAT, {"beat", END}),
        ("beat" + " S- A- T- B-" * 4, {"beat"}),
        ("beat" + " S- A- T- B40" * 4, {"beat", END}),
        (f"{BEAT} beat" + " S- A- T- B-" * 4, {"beat"}),
        (f"{' '.join([BEAT] * 8)} beat", {"S-", *(f"S{p}" for p in range(53, 89) if p != 60)}),
        (f"{' '.join([BEAT] * 8)} beat S-", {"A-", *(f"A{p}" for p in range(45, 82) if p != 57)}),
        (
            f"{' '.join([BEAT] * 7)} beat" + " S60 A57 T52 B45" * 3,
            {"S-", *(f"S{pitch}" for pitch in range(53, 89))},
        ),
        (
            f"{' '.join(['beat' + ' S- A57 T52 B45' * 4] * 9)} beat",
            {"S-", *(f"S{pitch}" for pitch in range(53, 89))},
        ),
    ],
)  # fmt: skip
def test_what_a_chorale_allows(given: str, expected: set[str]) -> None:
    assert _allowed(CHORALE, given) == expected


@pytest.mark.parametrize("encoding", [PERFORMANCE, CHORALE])
def test_random_pieces_are_music_without_endless_notes(encoding: Encoding, tmp_path: Path) -> None:
    draw = random.Random(0)
    every = {token: word for word, token in encoding.tokenizer.tokens().items()}
    for number in range(50):
        grammar, words = grammar_of(encoding), []
        for _ in range(draw.randint(1, 700)):
            token = draw.choice(grammar.allowed().nonzero()[:, 0].tolist())
            if grammar.add(token):
                break
            words.append(every[token])
        notes = [note for voice in encoding.to_notes(words) for note in voice]
        assert all(0 < note.end - note.start <= 480 for note in notes)
        if number % 10 == 0 and notes:
            write_midi(tmp_path / "piece.mid", encoding.to_notes(words))
            assert _longest_in_beats(tmp_path / "piece.mid") <= 8


def _longest_in_beats(path: Path) -> float:
    """Return the longest note in quarters, as mido reads it."""
    file = mido.MidiFile(path)
    longest = 0
    for track in file.tracks:
        begun: dict[tuple[int, int], int] = {}
        now = 0
        for message in track:
            now += message.time
            if message.type == "note_on" and message.velocity:
                begun[message.channel, message.note] = now
            elif message.type in ("note_on", "note_off"):
                longest = max(longest, now - begun.pop((message.channel, message.note)))
        assert not begun
    return longest / file.ticks_per_beat


@pytest.mark.parametrize("encoding", [PERFORMANCE, CHORALE])
def test_a_piece_that_has_ended_is_read_back_as_the_same_words(
    encoding: Encoding, tmp_path: Path
) -> None:
    """A hundred words of few pitches, so that they are struck again; then the piece fades out."""
    draw = random.Random(1)
    every = {token: word for word, token in encoding.tokenizer.tokens().items()}
    few = {"beat", "vel3", "vel30", "on60", "on61", "off60", "off61", "shift7", "shift100"}
    few |= {"S60", "S61", "A60", "T60", "T61", "B60", "B-", "S-"}
    for _ in range(40):
        grammar, words = grammar_of(encoding), []
        is_ended = False
        while not is_ended:
            allowed = [every[token] for token in grammar.allowed().nonzero()[:, 0].tolist()]
            wanted = [few]
            if len(words) > 100:
                wanted = [{END}, {word for word in allowed if word.startswith(("off", "sh"))}, few]
            choices = next(
                ([w for w in allowed if w in some] for some in wanted if some & {*allowed}), allowed
            )
            word = draw.choice(choices)
            is_ended = grammar.add(encoding.tokenizer.tokens()[word])
            words += [] if is_ended else [word]
        write_midi(tmp_path / "piece.mid", encoding.to_notes(words))
        assert encoding.from_midi(tmp_path / "piece.mid") == words


def test_what_the_performance_encoding_writes_is_allowed() -> None:
    draw = random.Random(0)
    for _ in range(50):
        notes = []
        for _ in range(40):
            start = draw.randrange(1500)
            end = start + draw.randint(1, 480)
            notes.append(Note(start, end, draw.randint(55, 65), draw.randint(1, 127)))
        words = PERFORMANCE.from_notes([_apart(notes)])
        grammar = grammar_of(PERFORMANCE)
        tokens = [*PERFORMANCE.tokenizer.encode(" ".join(words)), PERFORMANCE.tokenizer.end_of_text]
        for token in tokens:
            assert grammar.allowed()[token]
            is_ended = grammar.add(token)
        assert is_ended


def _apart(notes: list[Note]) -> list[Note]:
    """Drop notes whose pitch sounds already."""
    kept: list[Note] = []
    for note in notes:
        if all(n.pitch != note.pitch or n.end <= note.start or n.start >= note.end for n in kept):
            kept.append(note)
    return kept


def test_bachs_chorales_are_allowed_but_for_notes_of_more_than_eight_beats(realdata: Path) -> None:
    pieces = read_chorales(realdata / "music" / "Jsb16thSeparated.json")["test"]
    assert len(pieces) == 77
    refused = 0
    for piece in pieces[::4]:
        assert fault_of(piece) is None
        words = CHORALE.from_frames(piece[: len(piece) // 4 * 4])
        grammar = grammar_of(CHORALE)
        of_voice: dict[str, list[str]] = {}
        for word, token in zip(words, CHORALE.tokenizer.encode(" ".join(words)), strict=True):
            before = of_voice.setdefault(word[0], [])
            is_held = word != "beat" and len(before) >= 32 and {*before[-32:]} == {word}
            assert grammar.allowed()[token] == (not is_held)
            refused += is_held
            before.append(word)
            grammar.add(token)
        assert grammar.allowed()[CHORALE.tokenizer.end_of_text]
    assert 0 < refused < 100
