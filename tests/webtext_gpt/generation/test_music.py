"""Music of untrained models, by the function and by `generate.py`."""

import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mido
import pytest
import torch
from matplotlib.image import imread

from webtext_gpt.checkpoint.load import save_model
from webtext_gpt.errors import UserError
from webtext_gpt.generation import GREEDY, Sampling
from webtext_gpt.generation.music import compose
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.music.events import PERFORMANCE
from webtext_gpt.music.grid import CHORALE
from webtext_gpt.music.midi import write_midi
from webtext_gpt.music.notes import Note
from webtext_gpt.music.vocabulary import Encoding

Run = Callable[..., subprocess.CompletedProcess[str]]

SYNTHESIZER = """#!{python}
import sys, wave
out = sys.argv[sys.argv.index("-F" if "fluidsynth" in sys.argv[0] else "-o") + 1]
with open(sys.argv[0] + ".arguments", "w") as stream:
    stream.write("\\n".join(sys.argv[1:]))
with wave.open(out, "wb") as sound:
    sound.setparams((1, 2, 44100, 0, "NONE", ""))
    sound.writeframes(bytes(200))
"""


def _model(encoding: Encoding, std: float = 0.1) -> GPT:
    torch.manual_seed(0)
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 32}
    model = GPT(GPTConfig(**shape, vocab_size=encoding.tokenizer.vocab_size)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return model


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each encoding, by its name."""
    folder = tmp_path_factory.mktemp("music")
    found = {}
    for encoding in (PERFORMANCE, CHORALE):
        found[encoding.name] = folder / f"{encoding.name}.ckpt"
        save_model(_model(encoding), encoding.tokenizer, found[encoding.name])
    return found


@pytest.fixture
def no_synthesizer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("SOUNDFONT", raising=False)


@pytest.mark.parametrize("encoding", [PERFORMANCE, CHORALE])
def test_a_hundred_samples_of_an_untrained_model_are_music(encoding: Encoding) -> None:
    """Also those that their maximum length cuts anywhere, most of them longer than the context."""
    model = _model(encoding)
    for number in range(20):
        samples = compose(
            model, encoding, [], seeds=range(5 * number, 5 * number + 5), max_new_tokens=30 + number
        )
        for sample in samples:
            voices = encoding.to_notes(sample.words)
            assert sample.is_ended or len(sample.words) == 30 + number
            assert "<|endoftext|>" not in sample.words
            for note in (note for notes in voices for note in notes):
                assert 0 < note.end - note.start <= 480
                assert 0 <= note.pitch <= 127


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(top_k=1), Sampling(top_p=0.1)])
def test_the_grammar_holds_with_every_way_of_choosing(sampling: Sampling) -> None:
    """A model that always prefers the same pitches, the next best once eight beats are over."""
    model = _model(CHORALE)
    model.ln_f.weight.data.zero_()  # so the logits are the same everywhere
    model.ln_f.bias.data.fill_(1.0)
    model.wte.weight.data.zero_()
    vocabulary = CHORALE.tokenizer.tokens()
    for word, logit in {"<|endoftext|>": -99, "S70": 40, "A60": 40, "T50": 40, "B40": 40}.items():
        model.wte.weight.data[vocabulary[word], 0] = logit
    for word in ("S71", "A61", "T51", "B-"):
        model.wte.weight.data[vocabulary[word], 0] = 20
    (sample,) = compose(model, CHORALE, [], seeds=[0], max_new_tokens=11 * 17, sampling=sampling)
    assert not sample.is_ended
    favorite, second = ["S70", "A60", "T50", "B40"], ["S71", "A61", "T51", "B-"]
    sixteenths = [favorite] * 32 + [second] + [favorite] * 11
    expected = []
    for number, words in enumerate(sixteenths):
        expected += ["beat", *words] if number % 4 == 0 else words
    assert sample.words == expected


def test_a_sample_does_not_depend_on_the_others() -> None:
    model, given = _model(PERFORMANCE), ["vel9", "on60", "shift50", "off60"]
    settings = {"max_new_tokens": 90}
    together = compose(model, PERFORMANCE, given, seeds=range(3), **settings)
    assert len({tuple(sample.words) for sample in together}) == 3
    for seed, sample in enumerate(together):
        assert compose(model, PERFORMANCE, given, seeds=[seed], **settings) == [sample]
    with pytest.raises(UserError, match="word 0 of the music, 'off60', ends a pitch that does not"):
        compose(model, PERFORMANCE, ["off60"], seeds=[0], **settings)


@pytest.mark.usefixtures("no_synthesizer")
@pytest.mark.parametrize("name", ["performance", "chorale"])
def test_the_command_writes_pieces_with_pictures(
    call: Run, checkpoints: dict[str, Path], tmp_path: Path, name: str
) -> None:
    given = f"checkpoint={checkpoints[name]}", "device=cpu", "max_new_tokens=60"
    out = tmp_path / "new" / "piece.mid"
    result = call("generate.py", *given, f"out={out}", "num_samples=3", "batch_size=2", "seed=5")
    assert result.returncode == 0, result.stderr
    assert "apt install fluidsynth fluid-soundfont-gm" in result.stderr
    names = {path.name for path in out.parent.iterdir()}
    assert names == {f"piece-{n}.{ending}" for n in (1, 2, 3) for ending in ("mid", "png")}
    lines = result.stdout.splitlines()
    assert len(lines) == 3
    for number, line in enumerate(lines, start=1):
        midi = out.with_name(f"piece-{number}.mid")
        file = mido.MidiFile(midi)
        n_notes = sum(m.type == "note_on" and m.velocity > 0 for t in file.tracks for m in t)
        picture = midi.with_suffix(".png")
        assert line.startswith(f"{midi}, {picture}: {file.length:.1f} s, {n_notes} note")
        assert line.endswith(("ended by the model", "cut at its maximum length"))
        assert imread(midi.with_suffix(".png")).shape[1] == 900
    # the third piece is the first of another call with its seed
    alone = tmp_path / "alone.mid"
    result = call("generate.py", *given, f"out={alone}", "seed=7")
    assert alone.read_bytes() == (out.parent / "piece-3.mid").read_bytes()
    again = call("generate.py", *given, f"out={alone}")
    assert "alone.mid exists; remove it or give another out=" in again.stderr
    alone.unlink()
    again = call("generate.py", *given, f"out={alone}")
    assert "alone.png exists; remove it or give another out=" in again.stderr


@pytest.mark.usefixtures("no_synthesizer")
@pytest.mark.parametrize("encoding", [PERFORMANCE, CHORALE])
def test_a_given_piece_is_continued(
    call: Run, checkpoints: dict[str, Path], tmp_path: Path, encoding: Encoding
) -> None:
    """The given notes begin the file, and the model's follow: four voices of half a second."""
    pitches = (67, 62, 59, 43)
    write_midi(tmp_path / "given.mid", [[Note(0, 60, pitch, 82)] for pitch in pitches])
    result = call(
        "generate.py",
        *(f"checkpoint={checkpoints[encoding.name]}", "device=cpu", "max_new_tokens=40"),
        *(f"prompt={tmp_path / 'given.mid'}", f"out={tmp_path / 'more.mid'}", "seed=1"),
    )
    assert result.returncode == 0, result.stderr
    begun, later = set(), 0
    for track in mido.MidiFile(tmp_path / "more.mid").tracks:
        now = 0
        for message in track:
            now += message.time
            if message.type == "note_on" and message.velocity:
                begun |= {message.note} if now == 0 else set()
                later += now >= 480  # ticks of the given quarter
    assert begun == set(pitches)
    assert later > 0


def test_a_synthesizer_adds_the_sound(
    call: Run, checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = f"checkpoint={checkpoints['chorale']}", "device=cpu", "max_new_tokens=40", "seed=1"
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    font = tmp_path / "piano.sf2"
    font.touch()
    monkeypatch.setenv("SOUNDFONT", str(font))
    for name in ("timidity", "fluidsynth"):  # the second one is preferred
        program = folder / name
        program.write_text(SYNTHESIZER.format(python=sys.executable))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        out = tmp_path / f"-{name}.mid"
        result = call("generate.py", *given, f"out={out}")
        assert result.returncode == 0, result.stderr
        assert "wrote no sound" not in result.stderr
        assert "install fluidsynth" not in result.stderr
        files = [str(out.with_suffix(ending)) for ending in (".mid", ".png", ".wav")]
        assert ", ".join(files) + ": " in result.stdout
        assert out.with_suffix(".wav").read_bytes()[:4] == b"RIFF"
        arguments = (folder / f"{name}.arguments").read_text().splitlines()
        assert arguments[-1] == str(out)
        assert (str(font) in arguments) == (name == "fluidsynth")
    for script, said in (
        ("import sys; sys.exit('no sound card')", "(exit code 1): no sound card"),
        ("pass", "(exit code 0): without a message"),
    ):
        program.write_text(f"#!{sys.executable}\n{script}\n")
        out = tmp_path / f"{len(script)}.mid"
        result = call("generate.py", *given, f"out={out}")
        assert result.returncode == 0
        assert f"fluidsynth wrote no sound of {out} {said}" in result.stderr
        assert {p.suffix for p in tmp_path.glob(f"{len(script)}.*")} == {".mid", ".png"}
        assert ".wav" not in result.stdout
    monkeypatch.setenv("SOUNDFONT", "nowhere.sf2")
    result = call("generate.py", *given, f"out={tmp_path / 'last.mid'}")
    assert (result.returncode, result.stdout) == (1, "")
    assert "SOUNDFONT=nowhere.sf2 in the environment is not a file" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "holds a model of music, which writes files; give out=FILE.mid"),
        (["out=a.jsonl"], "holds a model of music, and out=a.jsonl does not end in .mid"),
        (["out=a.mid", "prompt=Once"], "and prompt='Once' is text; give prompt=FILE.mid"),
        (["out=a.mid", "prompt=b.mid"], "prompt=b.mid does not exist"),
        (["out=a.mid", "prompt=bad.mid"], "bad.mid"),
        (["out=a.mid", "stop=x", "num_beams=2"], "num_beams, stop are for models of text; leave"),
        (["out=a.mid", "draft=ngram"], "and draft is for models of text; leave it out"),
        (["next=3"], "and next is for models of text"),
        (["out=a.mid", "prompt=ok.mid", "overflow=refuse"], "does not fit in the model's context"),
        (["checkpoint=TEXT", "out=a.mid"], "out=a.mid names a MIDI file, and .* no model of music"),
        (["checkpoint=TEXT", "prompt=ok.mid"], "prompt=ok.mid is a MIDI file, and .* no model of"),
        (["checkpoint=TEXT", "prompts=ok.mid"], "ok.mid is a MIDI file, not text; for music there"),
        (["checkpoint=TRANSLATOR", "prompt=ok.mid"], "prompt=ok.mid is a MIDI file, and .* no mo"),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(
    call: Run,
    checkpoints: dict[str, Path],
    small_checkpoint: Path,
    small_translator: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.mid").write_bytes(b"MThd, but no music")
    write_midi(tmp_path / "ok.mid", [[Note(0, 50, 60, 80)]])
    places = {"checkpoint=TEXT": small_checkpoint, "checkpoint=TRANSLATOR": small_translator}
    texts = [f"checkpoint={places[a]}" if a in places else a for a in arguments]
    if not any(text.startswith("checkpoint=") for text in texts):
        texts.append(f"checkpoint={checkpoints['performance']}")
    result = call("generate.py", *texts, "device=cpu")
    assert (result.returncode, result.stdout) == (1, "")
    assert re.search(message, result.stderr)
    assert len(result.stderr.splitlines()) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"bad.mid", "ok.mid"}
