"""Contracts 4, 6 and 7 for translation: counted order, exact resume, the same on two processes."""

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from webtext_gpt.checkpoint.load import load, only_translator, save_model
from webtext_gpt.checkpoint.store import read_checkpoint
from webtext_gpt.errors import UserError
from webtext_gpt.explorer.translation import TranslationInspector
from webtext_gpt.generation.alignment import alignment
from webtext_gpt.generation.translate import translate
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.pair_tokenizer import PairTokenizer
from webtext_gpt.tokenizer import END_OF_TEXT, build_char_vocabulary
from webtext_gpt.training.loggers import read_metrics
from webtext_gpt.translation.run import train_translator

TRAIN = [sys.executable, str(Path(__file__).parents[2] / "train.py")]
WORDS = {"a": "ein", "cat": "Katze", "dog": "Hund", "sees": "sieht", "old": "alt", "red": "rot"}


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A run of a tiny model on 120 made-up pairs, about eight steps an epoch."""
    folder = tmp_path_factory.mktemp("pairs")
    draw = random.Random(0)
    sentences = [draw.choices(list(WORDS), k=draw.randint(1, 6)) for _ in range(120)]
    (folder / "a.en").write_text("\n".join(" ".join(s) for s in sentences))
    (folder / "a.de").write_text("\n".join(" ".join(WORDS[w] for w in s) for s in sentences))
    return [
        *("data=pairs", f"data.source={folder / 'a.en'}", f"data.target={folder / 'a.de'}"),
        *("data.val_fraction=0.1", "tokenizer=char", "global_batch_tokens=300"),
        *("model.n_encoder_layer=1", "model.n_decoder_layer=1", "model.n_head=2"),
        *("model.n_embd=16", "model.block_size=40", "optimizer.lr=1e-2", "scheduler=constant"),
        *("scheduler.warmup_steps=2", "validate_every=5", "trainer.log_every_n_steps=1"),
        *("trainer.accelerator=cpu", "trainer.precision=32-true"),
        "callbacks.checkpoints.save_every=5",
    ]


@pytest.fixture
def train(options: list[str], compose: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    def _train(folder: Path, *more: str) -> dict[str, Any]:
        return train_translator(compose("train", *options, f"run_dir={folder}", *more))

    return _train


def _losses(run: Path) -> list[tuple[float, float]]:
    rows = read_metrics(run / "metrics.csv")
    return [(row["step"], row["train_loss"]) for row in rows if row.get("train_loss") is not None]


def test_a_run_that_stops_within_an_epoch_and_resumes_equals_one_that_does_not(
    train: Callable[..., dict[str, Any]], compose: Callable[..., Any], tmp_path: Path
) -> None:
    whole = train(tmp_path / "whole", "trainer.max_steps=13")
    assert 1 < whole["epochs"] < 3
    train(tmp_path / "run", "trainer.max_steps=6")
    resume = f"resume={tmp_path / 'run'}"
    summary = train_translator(compose("train", resume, "trainer.max_steps=13"))

    assert [step for step, _ in _losses(tmp_path / "run")] == list(range(1, 14))
    assert _losses(tmp_path / "run") == _losses(tmp_path / "whole")
    assert summary["val_loss"] == whole["val_loss"]
    ours, theirs = (
        read_checkpoint(tmp_path / name / "checkpoints" / "last.ckpt")["state_dict"]
        for name in ("run", "whole")
    )
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())

    for change, message in (
        ("global_batch_tokens=400", "has global_batch_tokens=300, which fixes the order"),
        ("model.n_embd=32", r"another transformer_config \(n_embd=16, not 32\)"),
        ("data.val_fraction=0.3", "another corpus"),
    ):
        with pytest.raises(UserError, match=message):
            train_translator(compose("train", resume, "trainer.max_steps=20", change))


FEW = ["trainer.max_steps=9", "model.dropout=0"]
ZERO = [f"deepspeed_zero{s}" for s in (1, 2, 3)]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", *ZERO])
def test_two_processes_give_the_losses_of_one(
    train: Callable[..., dict[str, Any]], options: list[str], tmp_path: Path, strategy: str
) -> None:
    one = train(tmp_path / "one", *FEW)
    two = ["trainer.devices=2", f"strategy={strategy}", f"run_dir={tmp_path / 'two'}"]
    subprocess.run([*TRAIN, *options, *FEW, *two], check=True, timeout=300, capture_output=True)
    ours = dict(_losses(tmp_path / "two"))
    for step, loss in _losses(tmp_path / "one"):
        assert ours[step] == pytest.approx(loss, rel=1e-5)
    summary = json.loads((tmp_path / "two" / "summary.json").read_text())
    assert summary["val_loss"] == pytest.approx(one["val_loss"], rel=1e-4)


def test_several_passes_give_the_losses_of_one(
    train: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path / "one", *FEW)
    monkeypatch.setattr("webtext_gpt.translation.run.MICRO_BATCH_TOKENS", 100)
    train(tmp_path / "three", *FEW)  # of 300 tokens in all
    theirs = dict(_losses(tmp_path / "three"))
    for step, loss in _losses(tmp_path / "one"):
        assert theirs[step] == pytest.approx(loss, rel=1e-5)
    assert theirs != dict(_losses(tmp_path / "one"))  # the sums have another order


def test_what_a_run_writes(
    train: Callable[..., dict[str, Any]], compose: Callable[..., Any], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    more = ["trainer.max_steps=6", "average=window", "average.steps=4", "average.interval=2"]
    summary = train(run, *more, "callbacks.samples.num_samples=2", "optimizer=muon")
    model = only_translator(load(run), run)
    assert model.config.n_embd == 16
    assert summary["parameters"] == model.num_parameters
    assert summary["val_loss_average"] > 0
    only_translator(load(run / "checkpoints" / "average.ckpt"), "average")
    samples = (run / "samples.txt").read_text()
    assert samples.count("=== step 5\n") == samples.count("=== step 6\n") == 1
    assert samples.count("reference ") == 4

    other = tmp_path / "other.tsv"
    other.write_text("a cat\tein Katze\na dog\tein Hund\n")
    start = ["data=pairs", f"checkpoint={run}", f"data.source={other}", "trainer.max_steps=1"]
    start += [f"run_dir={tmp_path / 'more'}", "trainer.accelerator=cpu", "callbacks.samples=null"]
    started = train_translator(compose("train", *start))
    assert started["parameters"] == model.num_parameters


def test_languages_may_have_a_vocabulary_each(
    train: Callable[..., dict[str, Any]], compose: Callable[..., Any], tmp_path: Path
) -> None:
    more = ["data.vocabulary=separate", "callbacks.samples.num_samples=1"]
    whole = train(tmp_path / "whole", *more, "trainer.max_steps=6")
    train(tmp_path / "run", *more, "trainer.max_steps=3")
    resume = f"resume={tmp_path / 'run'}"
    with pytest.raises(UserError, match=r"has two tokenizers, and data\.vocabulary=joint asks for"):
        train_translator(compose("train", resume, "trainer.max_steps=6", "data.vocabulary=joint"))
    train_translator(compose("train", resume, "trainer.max_steps=6"))
    assert _losses(tmp_path / "run") == _losses(tmp_path / "whole")

    loaded = load(tmp_path / "run")
    model, tokenizer = only_translator(loaded, "run"), loaded.tokenizer
    assert isinstance(tokenizer, PairTokenizer)
    assert sorted(tokenizer.source.tokens()) == sorted([*set(" ".join(WORDS)), END_OF_TEXT])
    assert sorted(tokenizer.tokens()) == sorted([*set(" ".join(WORDS.values())), END_OF_TEXT])
    assert model.source_wte.num_embeddings == tokenizer.source.vocab_size
    assert model.wte.num_embeddings == tokenizer.vocab_size
    assert whole["parameters"] == model.num_parameters
    text = translate(model, tokenizer, ["a dog"])[0]
    assert alignment(model, tokenizer, "a dog", text).shape[2:] == (len(text) + 1, len("a dog") + 1)
    shown = TranslationInspector(loaded).translate("a dog", text)
    assert [token["text"] for token in shown["source"]] == [*"a dog", END_OF_TEXT]
    assert [token["text"] for token in shown["target"]] == [*text, END_OF_TEXT]
    with pytest.raises(UserError, match="text 1: .*'K'"):
        translate(model, tokenizer, ["Katze"])  # the targets' letters are not the sources'


def test_a_language_model_and_another_vocabulary_are_refused(
    train: Callable[..., dict[str, Any]], compose: Callable[..., Any], tmp_path: Path
) -> None:
    config = GPTConfig(n_layer=1, n_head=1, n_embd=8, block_size=8, vocab_size=4)
    save_model(GPT(config), build_char_vocabulary(["abc"]), tmp_path / "gpt.ckpt")
    pairs = tmp_path / "a.tsv"
    pairs.write_text("a cat\tein Katze\na dog\tein Hund\n")
    start = ["train", "data=pairs", f"data.source={pairs}", f"run_dir={tmp_path / 'run'}"]
    with pytest.raises(UserError, match=r"gpt\.ckpt holds a language model, not a translation mod"):
        train_translator(compose(*start, f"checkpoint={tmp_path / 'gpt.ckpt'}"))

    train(tmp_path / "made", "trainer.max_steps=1", "callbacks.samples=null")
    pairs.write_text("a cat\tein Kätzchen\na dog\tein Hund\n")
    with pytest.raises(UserError, match="tokenizer of checkpoint=.*made cannot encode .*'ä'"):
        train_translator(compose(*start, f"checkpoint={tmp_path / 'made'}"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("model=tiny", "data=pairs needs an encoder-decoder; give model=transformer_small"),
        ("packing=best_fit", "packing=best_fit does not apply to data=pairs"),
        ("micro_batch_size=4", "micro_batch_size=4 does not apply to data=pairs"),
        ("estimate=true", "estimate=true does not apply to data=pairs"),
        ("recipe=modern", "recipe=modern is for language models"),
        ("size=1m", "size=1m is for language models"),
        ("model.n_layer=3", "model.n_layer has no effect with the present choice of model"),
    ],
)
def test_settings_that_pairs_do_not_have_are_refused(
    compose: Callable[..., Any], given: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        compose("train", "data=pairs", "data.source=a.tsv", given)


def test_a_translation_model_needs_pairs(compose: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match="give data=pairs data.source=FILE data.target=FILE"):
        compose("train", "model=transformer_base")
    with pytest.raises(UserError, match="label_smoothing=0.1 is a setting of data=pairs"):
        compose("train", "label_smoothing=0.1")
