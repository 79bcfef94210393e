"""A model of music in the explorer: notes and tokens by hand, what follows against torch."""

import io
from pathlib import Path

import mido
import pytest
import torch

from webtext_gpt.checkpoint.load import load, only_gpt
from webtext_gpt.errors import UserError
from webtext_gpt.explorer.examples import phrases
from webtext_gpt.explorer.music import MusicInspector
from webtext_gpt.explorer.requests import REQUESTS, read_request
from webtext_gpt.explorer.workspace import Workspace
from webtext_gpt.music.events import PERFORMANCE
from webtext_gpt.music.grid import CHORALE

BEAT = "beat S60 A55 T50 B43 S60 A57 T- B43 S62 A57 T50 B43"


@pytest.fixture(scope="module")
def chorale(music_checkpoints: dict[str, Path]) -> MusicInspector:
    return MusicInspector(load(music_checkpoints["chorale"]), CHORALE)


@pytest.fixture(scope="module")
def performance(music_checkpoints: dict[str, Path]) -> MusicInspector:
    return MusicInspector(load(music_checkpoints["performance"]), PERFORMANCE)


def test_notes_of_a_chorale_have_a_token_a_sixteenth(chorale: MusicInspector) -> None:
    """A sixteenth lasts 0.15 s; token 0 is end-of-text, token 1 the beat."""
    found = chorale.piece(BEAT)
    assert found["voices"] == ["soprano", "alto", "tenor", "bass"]
    assert found["beat"] == pytest.approx(0.6)
    rows = [
        (note["voice"], note["pitch"], [part["tokens"] for part in note["parts"]])
        for note in found["notes"]
    ]
    assert rows == [
        (0, 60, [[2], [6]]),
        (0, 62, [[10]]),
        (1, 55, [[3]]),
        (1, 57, [[7], [11]]),
        (2, 50, [[4]]),
        (2, 50, [[12]]),
        (3, 43, [[5], [9], [13]]),
    ]
    alto = found["notes"][3]
    assert (alto["start"], alto["end"]) == pytest.approx((0.15, 0.45))
    assert [part["start"] for part in alto["parts"]] == pytest.approx([0.15, 0.3])
    assert [part["end"] for part in alto["parts"]] == pytest.approx([0.3, 0.45])


def test_tokens_after_the_second_beat(chorale: MusicInspector) -> None:
    """A beat has 17 words, so the soprano of the fifth sixteenth is word 18, token 19."""
    beat = "beat " + "S60 A55 T50 B43 " * 4
    soprano = chorale.piece(beat + beat)["notes"][0]
    assert [part["tokens"] for part in soprano["parts"]] == [
        [2], [6], [10], [14], [19], [23], [27], [31],
    ]  # fmt: skip


def test_notes_of_a_performance_have_the_tokens_that_begin_and_end_them(
    performance: MusicInspector,
) -> None:
    found = performance.piece("vel16 on60 shift10 on64 shift5 off60 off64 on60")
    assert (found["voices"], found["beat"]) == ([], None)
    rows = [
        (note["pitch"], note["start"], note["end"], note["velocity"], note["parts"][0]["tokens"])
        for note in found["notes"]
    ]
    assert rows == [
        (60, 0.0, 0.15, 66, [2, 6]),  # the middle of velocities 64 to 67
        (64, 0.1, 0.15, 66, [4, 7]),
        (60, 0.15, 0.16, 66, [8]),
    ]


def test_a_pitch_struck_twice_at_once_is_one_note(performance: MusicInspector) -> None:
    [note] = performance.piece("on60 off60 on60 shift5 off60")["notes"]
    assert (note["start"], note["end"]) == (0.0, 0.05)
    assert [part["tokens"] for part in note["parts"]] == [[1, 2, 3, 5]]


def test_words_that_the_context_has_no_room_for(chorale: MusicInspector) -> None:
    """End-of-text and 68 words, of which a context of 64 leaves out five: up to the first tenor."""
    beat = "beat " + "S60 A55 T50 B43 " * 4
    found = chorale.piece(beat * 4)
    first = {note["voice"]: note["parts"][0]["tokens"] for note in found["notes"]}
    assert first == {0: [], 1: [], 2: [], 3: [0]}
    assert found["notes"][0]["parts"][1]["tokens"] == [1]
    assert found["notes"][3]["parts"][-1]["tokens"] == [63]
    assert chorale.tokens(beat * 4)["n_cut"] == 5


def test_end_of_text_precedes_the_words(
    chorale: MusicInspector, music_checkpoints: dict[str, Path]
) -> None:
    loaded = load(music_checkpoints["chorale"])
    end, words = CHORALE.tokenizer.end_of_text, CHORALE.words
    ids = [end, *map(words.index, BEAT.split())]
    with torch.no_grad():
        logits = only_gpt(loaded, "the checkpoint")(torch.tensor([ids]))[0]
    tokens = chorale.tokens(BEAT)["tokens"]
    assert [token["id"] for token in tokens] == ids
    surprise = -logits.double().log_softmax(-1)[0, ids[1]] / torch.tensor(2.0).double().log()
    assert tokens[1]["surprise"] == pytest.approx(float(surprise), abs=1e-3)
    likeliest = chorale.next(BEAT, n=1)["tokens"][0]
    assert likeliest["id"] == int(logits[-1].argmax())


def test_a_piece_goes_on_with_the_likeliest_word_that_the_grammar_allows(
    chorale: MusicInspector, music_checkpoints: dict[str, Path]
) -> None:
    given = "beat S60 A55 T50"  # a word of the bass follows
    ids = [CHORALE.tokenizer.end_of_text, *map(CHORALE.words.index, given.split())]
    with torch.no_grad():
        model = only_gpt(load(music_checkpoints["chorale"]), "the checkpoint")
        logits = model(torch.tensor([ids]))[0, -1]
    bass = max(
        (word for word in CHORALE.words if word.startswith("B")),
        key=lambda word: float(logits[CHORALE.words.index(word)]),
    )
    found = chorale.compose(f" {given}\n", n_words=1, seed=0, temperature=0.0)
    assert found == {"text": f"{given} {bass}", "is_ended": False}


def test_one_seed_composes_one_piece(performance: MusicInspector) -> None:
    pieces = [performance.compose("", n_words=40, seed=seed)["text"] for seed in (1, 1, 2)]
    assert pieces[0] == pieces[1] != pieces[2]
    assert performance.piece(pieces[0])["notes"]


def midi(pitches: list[int], ticks: int) -> bytes:
    """Return a MIDI file of one note for each track, written by mido."""
    tracks = mido.MidiFile(ticks_per_beat=480)
    for pitch in pitches:
        on, off = (mido.Message(f"note_{k}", note=pitch, velocity=64) for k in ("on", "off"))
        tracks.tracks.append(mido.MidiTrack([on, off.copy(time=ticks)]))
    stream = io.BytesIO()
    tracks.save(file=stream)
    return stream.getvalue()


def test_a_midi_file_is_opened_up_to_the_end_of_the_context(chorale: MusicInspector) -> None:
    chord = "S60 A55 T50 B43"
    found = chorale.midi("mine.mid", midi([60, 55, 50, 43], 240))
    assert found == {"text": f"beat {chord} {chord}", "n_cut": 0}
    found = chorale.midi("mine.mid", midi([60, 55, 50, 43], 5 * 480))
    assert found["n_cut"] == 5 * 17 - 63  # 64 tokens with end-of-text
    assert found["text"].split() == (["beat", *chord.split() * 4] * 5)[:63]


def test_a_midi_file_that_cannot_be_opened(chorale: MusicInspector) -> None:
    for data, problem in ((b"RIFF", "mine.mid"), (midi([60], 240), "mine.mid: it has 1 voices")):
        with pytest.raises(UserError, match=problem) as error:
            chorale.midi("mine.mid", data)
        assert "/" not in str(error.value)  # no path of a temporary folder


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("beat A60", "word 1 of the music, 'A60', stands where a pitch of voice S is expected"),
        ("beat Q1", "text: word 1, 'Q1', is not one of the 161 words"),
    ],
)
def test_texts_that_are_no_music(chorale: MusicInspector, text: str, problem: str) -> None:
    for ask in (chorale.piece, lambda given: chorale.compose(given, n_words=1, seed=0)):
        with pytest.raises(UserError, match=problem):
            ask(text)


@pytest.mark.parametrize(
    ("name", "body", "problem"),
    [
        ("compose", '{"text": "", "n_words": 513, "seed": 1}', "n_words: expected int <= 512"),
        ("compose", '{"text": "", "n_words": 8}', "seed"),
        ("midi", '{"name": "a.mid", "data": "not base64!"}', "data"),
        ("midi", f'{{"name": "a.mid", "data": "{"AAAA" * 240_000}"}}', "data.*700000"),
    ],
)
def test_requests_that_are_refused(name: str, body: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        read_request(body.encode(), REQUESTS[name])


@pytest.mark.parametrize("encoding", [CHORALE, PERFORMANCE])
def test_the_workspace_describes_a_music_model(
    music_checkpoints: dict[str, Path], encoding: object
) -> None:
    name = "chorale" if encoding is CHORALE else "performance"
    workspace = Workspace(str(music_checkpoints[name]))
    found = workspace.describe()
    assert found["kind"] == "music_model"
    assert found["views"][:4] == ["piece", "compose", "midi", "next"]
    assert workspace.compute("piece", None, {"text": found["example"]})["notes"]
    assert workspace.compute("tokens", None, {"text": found["example"]})["n_cut"] == 0


def test_both_encodings_have_the_same_examples() -> None:
    """The cadence has 15 notes: soprano C D B C, alto G A G, tenor E F D E, bass C F G C."""
    for number, n_notes in enumerate((15, 4, 0)):
        (performed,) = PERFORMANCE.to_notes(phrases(PERFORMANCE)[number].split())
        written = [n for v in CHORALE.to_notes(phrases(CHORALE)[number].split()) for n in v]
        assert len(written) == n_notes
        assert sorted(n[:3] for n in performed) == sorted(n[:3] for n in written)


def test_music_is_compared_with_music_alone(
    music_checkpoints: dict[str, Path], small_checkpoint: Path
) -> None:
    with pytest.raises(UserError, match="is a music model and compare=.* is a language model"):
        Workspace(str(music_checkpoints["chorale"]), str(small_checkpoint))
    with pytest.raises(UserError, match="piece cannot be asked of a language model"):
        Workspace(str(small_checkpoint)).compute("piece", None, {"text": ""})
