"""Pretraining on a mixture of three sources: settings, tokenizer, losses by source, resuming."""

import csv
import json
import math
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from webtext_gpt.checkpoint.load import load
from webtext_gpt.cli import Arguments, read_settings
from webtext_gpt.commands import COMMANDS
from webtext_gpt.data.shard_writer import write_shards
from webtext_gpt.errors import UserError
from webtext_gpt.model import cross_entropy
from webtext_gpt.settings import saved
from webtext_gpt.settings.data import FilesSource, HubSource
from webtext_gpt.tokenizer import train_bpe
from webtext_gpt.training.callbacks.checkpoints import is_lower_better
from webtext_gpt.training.corpus import expected_vocabulary, open_shards
from webtext_gpt.training.pretrain import pretrain
from webtext_gpt.training.summary import print_summary

WORDS = {
    "animals": "the cat dog sees river small old bird hears and",
    "colours": "red green blue black white yellow pink",
    "numbers": "one two three four five six seven eight nine ten",
}
WEIGHTS = {"animals": 2, "colours": 1, "numbers": 1}


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file of sentences for each source, one of them JSONL with a row that has no text."""
    folder = tmp_path_factory.mktemp("texts")
    files = {}
    for name, words in WORDS.items():
        draw = random.Random(name)
        rows = [" ".join(draw.choices(words.split(), k=draw.randint(5, 30))) for _ in range(150)]
        files[name] = folder / f"{name}.txt"
        if name == "colours":
            files[name] = folder / f"{name}.jsonl"
            lines = [json.dumps({"text": row}) for row in [*rows, ""]]
            files[name].write_text("\n".join(lines))
        else:
            files[name].write_text(". ".join(rows))
    return files


@pytest.fixture
def mixture(texts: dict[str, Path]) -> list[str]:
    return [
        "data=mixture",
        *(f"data.sources.{name}.path={file}" for name, file in texts.items()),
        *(f"data.sources.{name}.weight={weight}" for name, weight in WEIGHTS.items()),
    ]


@pytest.fixture
def small(small_run: list[str]) -> list[str]:
    """The small run without its data."""
    return [pair for pair in small_run if not pair.startswith("data")]


def test_losses_by_source_are_those_of_each_source_alone(
    compose: Callable[..., Any],
    mixture: list[str],
    small: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = compose("train", *mixture, *small)
    summary = pretrain(settings)
    printed = capsys.readouterr().out
    assert "data        colours: 1 of 151 rows had no text" in printed
    assert "source      animals   50.0% of the samples" in printed

    model = load(tmp_path / "run").model.eval()
    shards = open_shards(settings)
    losses, bits, lengths = {}, {}, {}
    for name, source in shards.sources.items():
        stream = source.split("validation")
        tokens = torch.from_numpy(stream.read(0, stream.n_tokens))
        nats = 0.0
        for start in range(0, len(tokens) - 1, 32):
            window = tokens[start : start + 33]
            with torch.no_grad():
                logits = model(window[None, :-1])
            nats += float(cross_entropy(logits, window[None, 1:], reduction="sum"))
        losses[name] = nats / (len(tokens) - 1)
        bits[name] = nats / math.log(2) / stream.n_bytes
        lengths[name] = stream.n_bytes / (len(tokens) - 1)  # bytes per token
        assert summary[f"val_loss_{name}"] == pytest.approx(losses[name], rel=1e-5)
        assert summary[f"val_bits_per_byte_{name}"] == pytest.approx(bits[name], rel=1e-5)
    share = {"animals": 0.5, "colours": 0.25, "numbers": 0.25}
    mean = sum(share[name] * losses[name] for name in share)
    assert summary["val_loss"] == pytest.approx(mean, rel=1e-5)
    # Bits per byte of a text in which half of the tokens are of animals.
    mixed_bytes = sum(share[name] * lengths[name] for name in share)
    expected = mean / math.log(2) / mixed_bytes
    assert summary["val_bits_per_byte"] == pytest.approx(expected, rel=1e-5)

    # 6 steps of 8 sequences of 32 tokens.
    assert summary["sources"]["animals"]["samples"] == 24
    assert summary["sources"]["animals"]["tokens"] == 24 * 32
    n_tokens = shards.sources["animals"].split("train").n_tokens
    assert summary["sources"]["animals"]["epochs"] == pytest.approx(24 * 32 / n_tokens)
    assert summary["sources"]["numbers"]["samples"] == 12
    with (tmp_path / "run/metrics.csv").open() as stream:
        columns = next(csv.reader(stream))
    assert {f"val_loss_{n}" for n in WORDS} | {f"val_bits_per_byte_{n}" for n in WORDS} <= {
        *columns
    }
    text = "=== step 6\n=== ===\n1   2\n\n=== step 6\nthe second\n\n"
    (tmp_path / "run" / "samples.txt").write_text(text)
    print_summary(str(tmp_path / "run"), summary, prompt="Return the")
    printed = capsys.readouterr().out
    assert re.search(r"^animals +50\.0% +24 +768 ", printed, re.MULTILINE)
    assert "--- text from the model, 1\n=== ===\n1   2\n\n" in printed
    assert "--- text from the model, 2\nthe second\n\n" in printed
    assert "'prompt=Return the'" in printed


@pytest.mark.slow
def test_the_middle_of_a_run_is_resumed_and_another_mixture_is_refused(
    compose: Callable[..., Any], mixture: list[str], small: list[str], tmp_path: Path
) -> None:
    given = [*mixture, *small, "scheduler=constant"]
    whole = pretrain(compose("train", *given, f"run_dir={tmp_path / 'whole'}"))
    pretrain(compose("train", *given, "trainer.max_steps=3"))
    resume = f"resume={tmp_path / 'run'}"
    for changed, message in (
        ("data.sources.animals.weight=3", r"another corpus \(animals=2/4 of .*, not 3/5 of"),
        ("data.sources.numbers=null", "another corpus .*numbers=1/4 of tokens .*, not None"),
    ):
        with pytest.raises(UserError, match=message):
            pretrain(compose("train", resume, changed, "trainer.max_steps=6"))
    resumed = pretrain(compose("train", resume, "trainer.max_steps=6"))
    assert resumed["val_loss"] == whole["val_loss"]
    assert resumed["sources"] == whole["sources"]


def test_sources_share_one_tokenizer_and_other_weights_need_no_new_shards(
    compose: Callable[..., Any],
    mixture: list[str],
    small: list[str],
    texts: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = compose("train", *mixture, *small)
    assert expected_vocabulary(settings) == 280  # as asked for: nothing is built yet
    opened = open_shards(settings)
    tokenizers = {shards.tokenizer.hash for shards in opened.sources.values()}
    assert len(tokenizers) == 1
    assert capsys.readouterr().out.count("building token shards") == 3
    # "numbers" is in one source, and "colours" in another; the tokenizer has merges of both.
    assert len(opened.tokenizer.encode(" seven")) < 6
    assert len(opened.tokenizer.encode(" yellow")) < 7
    others = compose("train", *mixture, *small, "data.sources.animals.weight=7")
    assert open_shards(others).tokenizer.hash == opened.tokenizer.hash
    assert "building" not in capsys.readouterr().out
    assert expected_vocabulary(settings) == opened.vocab_size


def test_characters_of_all_sources_are_in_the_vocabulary(
    compose: Callable[..., Any], mixture: list[str], small: list[str]
) -> None:
    pairs = [pair for pair in small if not pair.startswith("tokenizer.")]
    settings = compose("train", *mixture, *pairs, "tokenizer=char")
    letters = {c for words in WORDS.values() for c in words.replace(" ", "")} | {" ", "."}
    assert expected_vocabulary(settings) == len(letters) + 1
    assert open_shards(settings).vocab_size == len(letters) + 1


def test_texts_take_the_tokenizer_of_shards_and_shards_must_agree(
    compose: Callable[..., Any], small: list[str], texts: dict[str, Path], tmp_path: Path
) -> None:
    prose = texts["numbers"].read_text()
    mine, other = train_bpe([prose], 270), train_bpe([prose], 275)
    for name, tokenizer in (("a", mine), ("b", mine), ("c", other)):
        documents = [("train", prose), ("validation", "one two")]
        write_shards(documents, tokenizer, tmp_path / name, {})

    def settings(*names: str) -> Any:
        given = [f"data.sources.{n}.path={tmp_path / n}" for n in names]
        kinds = [f"data.sources.{n}.kind=shards" for n in names]
        animals = f"data.sources.text.path={texts['animals']}"
        return compose("train", "data=mixture", *given, *kinds, animals, *small)

    opened = open_shards(settings("a", "b"))
    assert {s.tokenizer.hash for s in opened.sources.values()} == {mine.hash}
    assert expected_vocabulary(settings("a", "b")) == 270
    with pytest.raises(UserError, match=r"data\.sources\.c\.path=.* another tokenizer than"):
        open_shards(settings("a", "c"))
    assert open_shards(settings("a"), train_bpe([prose], 270)).tokenizer.hash == mine.hash
    with pytest.raises(UserError, match=r"data\.sources\.a: .*another tokenizer"):
        open_shards(settings("a"), other)


@pytest.mark.parametrize(
    ("given", "shares"),
    [
        ([], "size"),
        (["data.sources.{}.epochs=1"], "size"),
        (["data.sources.{}.weight=5"], "equal"),
    ],
)
def test_without_weights_sources_are_taken_by_size(
    compose: Callable[..., Any],
    small: list[str],
    texts: dict[str, Path],
    given: list[str],
    shares: str,
) -> None:
    paths = [f"data.sources.{name}.path={file}" for name, file in texts.items()]
    more = [text.format(name) for text in given for name in texts]
    mixture = open_shards(compose("train", "data=mixture", *paths, *more, *small))
    sizes = {name: s.split("train").n_tokens for name, s in mixture.sources.items()}
    for name, share in mixture.shares.items():
        expected = sizes[name] / sum(sizes.values()) if shares == "size" else 1 / 3
        assert share == pytest.approx(expected, rel=1e-12)


def test_epochs_are_passes_relative_to_the_other_sources(
    compose: Callable[..., Any], small: list[str], texts: dict[str, Path]
) -> None:
    paths = [f"data.sources.{name}.path={file}" for name, file in texts.items()]
    mixture = open_shards(
        compose("train", "data=mixture", *paths, "data.sources.animals.epochs=2.5", *small)
    )
    sizes = {name: s.split("train").n_tokens for name, s in mixture.sources.items()}
    total = 2.5 * sizes["animals"] + sizes["colours"] + sizes["numbers"]
    assert mixture.shares["animals"] == pytest.approx(2.5 * sizes["animals"] / total, rel=1e-12)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["data.sources.a.weight=0"], "data.sources.a.weight=0: expected a number, above 0"),
        (["data.sources.a.weight=-1"], "data.sources.a.weight=-1: expected a number, above 0"),
        (["data.sources.a.weight=nan"], "data.sources.a.weight=nan: expected a number, above 0"),
        (["data.sources.a.epochs=0"], "data.sources.a.epochs=0: expected a number, above 0"),
        (["data.sources.a.weight=1"], "data.sources.b.weight has no value, but data.sources.a."),
        (
            ["data.sources.a.weight=1", "data.sources.b.epochs=2"],
            "data.sources.b.epochs=2 does not go with data.sources.a.weight",
        ),
        (["data.sources.c.weight=1"], "data.sources.c.path has no value"),
        (["data.sources.a.kind=web"], "data.sources.a.kind=web: expected docstrings, files"),
        (
            ["data.sources.a.split=x"],
            "data.sources.a.split has no effect with the present data.sources.a.kind; it needs "
            "data.sources.a.kind=hub",
        ),
        (["data.sources.a.pth=x"], "unknown key 'data.sources.a.pth'; did you mean .*NAME.path"),
        (["data.sources.a=x"], "data.sources.a=x: holds several settings"),
        (["data.sources=x"], "data.sources=x: data.sources holds several settings"),
        (["data.sources.a b.path=x"], "data.sources.a b: a name has letters"),
        (["data.sources.average.path=x"], "data.sources.average: a name may not be average"),
        (["data.sources.a_average.path=x"], "data.sources.a_average: a name may not be average"),
        (["data.sources.a=null", "data.sources.b=null"], "data.sources has no source"),
        (
            ["data.path=x"],
            "data.path has no effect .* data=files, data=shards, data=midi or data=cho",
        ),
    ],
)
def test_wrong_settings_are_refused_by_name(
    compose: Callable[..., Any], pairs: list[str], message: str
) -> None:
    sources = ["data=mixture", "data.sources.a.path=x", "data.sources.b.path=y"]
    with pytest.raises(UserError, match=message):
        compose("train", *sources, *pairs)


def test_the_kind_may_be_given_after_the_keys_that_it_has(compose: Callable[..., Any]) -> None:
    settings = compose("train", "data=mixture", "data.sources.a.name=x", "data.sources.a.kind=hub")
    assert isinstance(settings.data.sources["a"], HubSource)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["path={}/none.txt"], r"^data\.sources\.a\.path=.* does not exist"),
        (["path={}", "kind=shards"], r"^data\.sources\.a: .* is not a folder of token shards"),
        (["path={}/no", "kind=shards"], r"^data\.sources\.a\.path=.* does not exist"),
        (["path={}/blank.jsonl"], r"^data\.sources\.a: .*holds no text"),
    ],
)
def test_a_source_that_cannot_be_read_is_named(
    compose: Callable[..., Any],
    small: list[str],
    texts: dict[str, Path],
    tmp_path: Path,
    pairs: list[str],
    message: str,
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/blank.jsonl").write_text('{"text": " "}\n{"text": ""}\n')
    given = [f"data.sources.a.{pair.format(tmp_path / 'in')}" for pair in pairs]
    other = f"data.sources.b.path={texts['animals']}"
    with pytest.raises(UserError, match=message):
        open_shards(compose("train", "data=mixture", *given, other, *small))


def test_a_mixture_can_be_a_file_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/mine.yaml").write_text(
        "defaults: [mixture]\n"
        "sources:\n"
        "  novels: {path: [a/, b.txt], weight: 2}\n"
        "  docs: {kind: docstrings, weight: 1}\n"
    )
    pairs = (("data", "mine"), ("data.sources.novels.weight", "0.5"))
    settings = read_settings(COMMANDS["train"], Arguments(pairs=pairs, folder=tmp_path))
    novels = settings.data.sources["novels"]
    assert isinstance(novels, FilesSource)
    assert (novels.path, novels.weight) == (["a/", "b.txt"], 0.5)
    assert settings.data.sources["docs"].kind == "docstrings"


def test_a_saved_mixture_is_read_again_with_absolute_paths(
    compose: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("text")
    monkeypatch.chdir(tmp_path)
    settings = compose("train", "data=mixture", "data.sources.a.path=a.txt")
    saved.save(settings, tmp_path / "run")
    values = saved.load(tmp_path / "run")
    assert values["data"]["sources"]["a"]["path"] == [str(tmp_path / "a.txt")]
    assert compose("train", f"resume={tmp_path / 'run'}").data.sources.keys() == {"a"}


def test_a_lower_loss_of_one_source_is_better() -> None:
    assert is_lower_better("val_loss_accuracy")
    assert is_lower_better("val_bits_per_byte_web")
    assert not is_lower_better("val_accuracy")
