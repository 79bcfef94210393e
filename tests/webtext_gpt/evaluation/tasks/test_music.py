"""The task `music`: every token of a piece is scored once, and divided by what is a note."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from webtext_gpt.checkpoint.load import save_model
from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Options
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.evaluation.tasks.music import MUSIC
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.music.events import PERFORMANCE
from webtext_gpt.music.grid import CHORALE
from webtext_gpt.music.midi import write_midi
from webtext_gpt.music.notes import Note
from webtext_gpt.music.vocabulary import Encoding

BLOCK_SIZE = 24
LONG = [[60 + time % 3, 57, 52 - time % 2, -1 if time == 5 else 45] for time in range(30)]
SHORT = [[72, 64, 55, 48]] * 3
OUT_OF_RANGE = [[30, 30, 30, 30]]


def _model(encoding: Encoding) -> GPT:
    torch.manual_seed(0)
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": BLOCK_SIZE}
    model = GPT(GPTConfig(**shape, vocab_size=encoding.tokenizer.vocab_size)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.fixture(scope="module")
def chorales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of chorales whose test split has a piece that cannot be encoded."""
    path = tmp_path_factory.mktemp("chorales") / "Jsb16thSeparated.json"
    path.write_text(json.dumps({"train": [SHORT], "test": [LONG, OUT_OF_RANGE, SHORT]}))
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "chorale.ckpt"
    save_model(_model(CHORALE), CHORALE.tokenizer, path)
    return path


@torch.inference_mode()
def _nats(model: GPT, ids: list[int], stride: int) -> float:
    """Return -ln p of a piece, a forward pass for each token.

    A token sees what the window shows that scores it: the first window has a context of tokens to
    score, each later one `stride`, and reaches back to a whole context.
    """
    total, done = 0.0, 0
    while done < len(ids) - 1:
        end = min(done + (stride if done else BLOCK_SIZE), len(ids) - 1)
        for position in range(done + 1, end + 1):
            seen = ids[max(0, end - BLOCK_SIZE) : position]
            log_probabilities = model(torch.tensor([seen]))[0, -1].double().log_softmax(-1)
            total -= float(log_probabilities[ids[position]])
        done = end
    return total


@pytest.mark.parametrize("stride", [None, 1, 24])
def test_every_token_is_scored_once_and_divided_by_the_notes(
    chorales: Path, stride: int | None
) -> None:
    model = _model(CHORALE)
    scorer = Scorer(model, CHORALE.tokenizer, batch_tokens=100, stride=stride)
    measured = MUSIC.run(scorer, None, Options(pieces=[str(chorales)]))
    vocabulary = CHORALE.tokenizer.tokens()
    end = vocabulary["<|endoftext|>"]
    nats = n_tokens = 0.0
    for piece in (LONG, SHORT):
        words = []
        for time, frame in enumerate(piece):
            words += ["beat"] if time % 4 == 0 else []
            words += [f"{v}{p}" if p >= 0 else f"{v}-" for v, p in zip("SATB", frame, strict=True)]
        ids = [end, *(vocabulary[word] for word in words), end]
        nats += _nats(model, ids, stride or BLOCK_SIZE // 2)
        n_tokens += len(ids) - 1
    n_notes = 4 * (30 + 3)  # a voice in a sixteenth
    assert n_tokens == n_notes + 8 + 1 + 2  # beats, ends
    assert measured.examples == 2
    assert measured.counts == {"notes": n_notes, "tokens": n_tokens, "left_out": 1}
    assert measured.metrics["nats_per_note"] == pytest.approx(nats / n_notes, rel=1e-5)
    assert measured.metrics["nats_per_token"] == pytest.approx(nats / n_tokens, rel=1e-5)
    assert "a note is a voice in a sixteenth" in measured.notes["nats_per_note"]
    assert "test, piece 1 has a voice outside its range" in measured.notes["left_out"]


def test_a_folder_of_midi_files_goes_on_with_the_rest(tmp_path: Path) -> None:
    write_midi(tmp_path / "a.mid", [[Note(0, 50, 60, 80), Note(0, 130, 64, 90)]])
    (tmp_path / "b.mid").write_bytes(b"MThd, but no music")
    (tmp_path / "c.txt").write_text("no music")
    model = _model(PERFORMANCE)
    scorer = Scorer(model, PERFORMANCE.tokenizer)
    measured = MUSIC.run(scorer, None, Options(pieces=[str(tmp_path)]))
    words = ["vel20", "on60", "vel22", "on64", "shift50", "off60", "shift80", "off64"]
    vocabulary = PERFORMANCE.tokenizer.tokens()
    end = vocabulary["<|endoftext|>"]
    nats = _nats(model, [end, *(vocabulary[word] for word in words), end], 12)
    assert measured.counts == {"notes": 2, "tokens": 9, "left_out": 1}
    assert measured.metrics["nats_per_note"] == pytest.approx(nats / 2, rel=1e-5)
    assert "a note is a note-on event" in measured.notes["nats_per_note"]
    assert str(tmp_path / "b.mid") in measured.notes["left_out"]
    (tmp_path / "a.mid").unlink()
    with pytest.raises(UserError, match=r"no piece can be read; the first: .*b\.mid"):
        MUSIC.run(scorer, None, Options(pieces=[str(tmp_path)]))


def test_the_command_names_the_unit(
    call: Callable[..., subprocess.CompletedProcess[str]],
    chorales: Path,
    checkpoint: Path,
    tmp_path: Path,
) -> None:
    given = f"checkpoint={checkpoint}", "tasks=music", "device=cpu"
    for number, pieces in enumerate((f"pieces={chorales}", f"data_dir={chorales.parent}")):
        result = call("eval.py", *given, pieces, f"run_dir={tmp_path / str(number)}")
        assert result.returncode == 0, result.stderr
        assert "nats_per_note: the nats of all tokens, ends included, over the" in result.stdout
        assert "GPT-2 small (paper)" not in result.stdout
        rows = json.loads((tmp_path / str(number) / "evaluation.json").read_text())
        assert {row["metric"] for row in rows} >= {"nats_per_note", "nats_per_token", "notes"}
    assert (tmp_path / "0" / "evaluation.md").read_text().startswith("# Music by chorale.ckpt\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tasks=music"], "there are no pieces; give pieces=FILES"),
        ([], "holds a model of music, and the task lambada needs a language model; give tasks=[mu"),
        (["tasks=music", "checkpoint=TEXT", "pieces=CHORALES"], "holds a language model, and the "),
        (["tasks=lambada", "pieces=CHORALES"], "pieces= is for the task music; give tasks=music"),
        (["tasks=music", "pieces=nowhere"], "pieces=nowhere does not exist"),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(
    call: Callable[..., subprocess.CompletedProcess[str]],
    chorales: Path,
    checkpoint: Path,
    small_checkpoint: Path,
    tmp_path: Path,
    arguments: list[str],
    message: str,
) -> None:
    texts = [a.replace("TEXT", str(small_checkpoint)) for a in arguments]
    texts = [text.replace("CHORALES", str(chorales)) for text in texts]
    if not any(text.startswith("checkpoint=") for text in texts):
        texts.append(f"checkpoint={checkpoint}")
    result = call("eval.py", *texts, f"run_dir={tmp_path / 'out'}")
    assert result.returncode == 1
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def test_a_file_of_chorales_needs_the_right_model_and_the_split(tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    path.write_text(json.dumps({"train": [SHORT]}))
    options = Options(pieces=[str(path)])
    with pytest.raises(UserError, match=r"some\.json has no pieces of the split 'test'"):
        MUSIC.run(Scorer(_model(CHORALE), CHORALE.tokenizer), None, options)
    with pytest.raises(UserError, match="for models of chorales, and this one's encoding is perf"):
        MUSIC.run(Scorer(_model(PERFORMANCE), PERFORMANCE.tokenizer), None, options)
