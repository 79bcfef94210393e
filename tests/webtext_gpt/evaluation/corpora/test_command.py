"""The command `corpora`: what it refuses before training, and a small comparison to its end."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from webtext_gpt.cli import Call
from webtext_gpt.errors import Stopped, UserError
from webtext_gpt.evaluation.corpora import command
from webtext_gpt.training.run_folder import read_summary

RECIPE = (
    *("model.n_layer=1", "model.n_head=1", "model.n_embd=16", "model.block_size=16"),
    *("tokenizer.vocab_size=280", "global_batch_tokens=64", "callbacks.samples=null"),
    *("callbacks.loss_curve=null", "trainer.accelerator=cpu", "trainer.precision=32-true"),
    "scheduler.warmup_steps=1",
)
WORDS = ("river", "mill", "letter", "aunt", "road", "lake", "wheel", "spring", "night", "door")


@pytest.fixture
def rank(compose: Callable[..., Any], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """`rank(*settings)`: compare `a` and `b` of made-up sentences; returns `corpora.json`."""
    draw = random.Random(0)
    for name, size in (("a.jsonl", 60), ("b.jsonl", 40), ("held.jsonl", 8)):
        texts = (" ".join(draw.choices(WORDS, k=12)) for _ in range(size))
        (tmp_path / name).write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))

    def _rank(*settings: str) -> dict[str, Any]:
        given = {
            "corpora": f"[{tmp_path / 'a.jsonl'},{tmp_path / 'b.jsonl'}]",
            "heldout": str(tmp_path / "held.jsonl"),
            "recipe": f"[{','.join(RECIPE)}]",
            "tokens": "256",
            "seeds": "[0]",
            "run_dir": str(tmp_path / "out"),
        }
        given |= dict(item.split("=", 1) for item in settings)
        command.main(compose("corpora", *(f"{k}={v}" for k, v in given.items())), Call())
        report: dict[str, Any] = json.loads((tmp_path / "out" / "corpora.json").read_text())
        return report

    return _rank


@pytest.mark.slow
def test_models_are_trained_once_and_a_later_call_adds_seeds(
    rank: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training is interrupted; the next call continues, with another seed and a benchmark."""
    train, trained = command.train, []

    def interrupted_once(settings: Any, call: Call) -> None:
        trained.append((Path(settings.run_dir).parent.name, settings.seed))
        if len(trained) == 2:
            raise Stopped("saved", 75)
        train(settings, call)

    monkeypatch.setattr(command, "train", interrupted_once)
    with pytest.raises(Stopped, match=r"stopped in model 2 of 2 \(b, seed 0\)[\s\S]*same call"):
        rank()
    assert not (tmp_path / "out" / "corpora.json").exists()
    report = rank("seeds=[0,1]")
    assert trained == [("a", 0), ("b", 0), ("b", 0), ("a", 1), ("b", 1)]
    models = tmp_path / "out" / "models"
    assert all(read_summary(models / n / f"seed-{s}")["step"] == 4 for n in "ab" for s in (0, 1))

    figure = report["figures"]["held-out bits per byte"]
    assert list(report["figures"]) == ["held-out bits per byte"]
    assert report["seeds"] == [0, 1]
    assert figure["means"] == {n: pytest.approx(sum(figure["values"][n]) / 2) for n in "ab"}
    assert figure["ranking"] == sorted("ab", key=figure["means"].__getitem__)
    assert figure["pairs"][0]["better"] == figure["ranking"][0]
    corpora = report["corpora"]
    assert [corpora[name]["documents"] for name in "ab"] == [60, 40]
    assert corpora["a"]["epochs"] == pytest.approx(256 / corpora["a"]["tokens"])
    assert corpora["a"]["overlap"] == 0
    vocabularies = {
        (folder / "tokenizer.json").read_text()
        for name in "ab"
        for folder in (tmp_path / "out" / "shards" / name).glob("files-*[0-9a-f]")
    }
    assert len(vocabularies) == 1
    table = (tmp_path / "out" / "corpora.md").read_text()
    assert table.startswith("# Ranking of corpora")
    assert "data:image/png;base64," in (tmp_path / "out" / "corpora.html").read_text()
    assert "## held-out bits per byte" in table
    assert (tmp_path / "out" / "corpora.png").read_bytes().startswith(b"\x89PNG")

    with pytest.raises(UserError, match="out holds a comparison with other tokens; give the same"):
        rank("tokens=512")
    pairs = '{"sentence_good": "the mill", "sentence_bad": "mill the"}\n'
    (tmp_path / "anaphor_gender_agreement.jsonl").write_text(pairs)
    with pytest.raises(UserError, match="has none of anaphor_number_agreement.jsonl"):
        rank("tasks=blimp", f"data_dir={tmp_path}")
    assert len(trained) == 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["corpora=[{0}/a.jsonl]"], "is one corpus; give two or more"),
        (["corpora=[{0}/a.jsonl,{0}/a.jsonl]"], "corpora names .*a.jsonl twice"),
        (["corpora=[{0}/a.jsonl,{0}/gone]"], "corpora=.*gone does not exist"),
        (["heldout={0}/b.jsonl"], "the corpus b holds text of the held-out set b: 40 documents"),
        (["recipe=[trainer.max_steps=5]"], "the length of training is tokens="),
        (["recipe=[data.path=x]"], "recipe has data.path=x, but data follows from corpora="),
        (["recipe=[model.n_layers=2]"], "^recipe: unknown key 'model.n_layers'"),
        (["recipe=[model.n_layer=two]"], "^recipe: model.n_layer=two"),
        (["recipe=[-m]"], "may only hold settings"),
        (["recipe=[callbacks.checkpoints=null]"], "leaves no model to measure"),
        (
            ["tokens=100_000"],
            "the corpus a has .* tokens .* reads [0-9.]+ times; .*\n.*corpus b",
        ),
        (["recipe=[model.block_size=5000]"], "fewer than one sequence of model.block_size=5000"),
    ],
)
def test_bad_input_is_refused_before_the_first_training(
    settings: list[str],
    message: str,
    rank: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command, "train", lambda *_: pytest.fail("a model was trained"))
    with pytest.raises(UserError, match=message):
        rank(*(setting.format(tmp_path) for setting in settings))
    assert not (tmp_path / "out" / "models").exists()
