"""Runs that start from a checkpoint: its weights, its shape, its tokenizer, and what is refused."""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from webtext_gpt.checkpoint.load import load, load_language_model, save_model
from webtext_gpt.data.prepare import prepare_shards
from webtext_gpt.data.sources import Files
from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.model import add_head
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.tokenizer import Tokenizer, build_char_vocabulary, train_bpe
from webtext_gpt.training.estimate import estimate
from webtext_gpt.training.loggers import read_metrics
from webtext_gpt.training.pretrain import pretrain
from webtext_gpt.training.start import load_start
from webtext_gpt.weights.convert import convert

Compose = Callable[..., Any]


@pytest.fixture
def start_with(small_run: list[str]) -> Callable[..., list[str]]:
    """`start_with(CHECKPOINT, ...)`: overrides of a run of three steps that starts from it."""

    def overrides(checkpoint: str | Path, *more: str) -> list[str]:
        kept = [o for o in small_run if not o.startswith(("model.", "tokenizer."))]
        return [*kept, f"checkpoint={checkpoint}", "trainer.max_steps=3", *more]

    return overrides


@pytest.fixture(scope="module")
def run(
    compose: Compose,
    small_run_in: Callable[[Path], list[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("start")
    pretrain(compose("train", *small_run_in(folder)))
    return folder / "run"


def _first(folder: Path) -> dict[str, float]:
    """Return the first row of a run's metrics."""
    return read_metrics(folder / "metrics.csv")[0]


def _nanogpt(model: GPT, tokenizer: Tokenizer, folder: Path) -> Path:
    """Write a model as nanoGPT does, with its own names and without `lm_head`'s tie."""
    folder.mkdir()
    config = model.config
    shape = {key: getattr(config, key) for key in ("n_layer", "n_head", "n_embd", "block_size")}
    names = {name.replace("blocks.", "h."): w for name, w in model.state_dict().items()}
    weights = {n if n.startswith("lm_head") else f"transformer.{n}": w for n, w in names.items()}
    arguments = {**shape, "vocab_size": config.vocab_size, "bias": True, "dropout": 0.0}
    torch.save({"model_args": arguments, "model": weights}, folder / "ckpt.pt")
    tokenizer.save(folder / "tokenizer.json")
    return folder


@pytest.mark.parametrize("form", ["run", "ckpt", "hugging_face"])
def test_the_first_validation_is_the_last_of_the_run_it_starts_from(
    form: str,
    run: Path,
    compose: Compose,
    start_with: Callable[..., list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    """The same text and weights: neither the formats nor the second tokenization change a token."""
    checkpoint = run
    if form == "ckpt":
        checkpoint = tmp_path / "exported.ckpt"
        convert(run / "checkpoints" / "last.ckpt", checkpoint)
    elif form == "hugging_face":
        checkpoint = tmp_path / "folder"
        convert(run / "checkpoints" / "last.ckpt", checkpoint)
    pretrain(compose("train", *start_with(checkpoint)))
    before, row = json.loads((run / "summary.json").read_text()), _first(tmp_path / "run")
    assert row["step"] == 0
    assert row["val_loss"] == pytest.approx(before["val_loss"], abs=1e-6)
    assert row["val_bits_per_byte"] == pytest.approx(before["val_bits_per_byte"], abs=1e-6)
    assert f"loss {before['val_loss']:.4f} before the first step" in capsys.readouterr().out
    # A new schedule and a fresh optimizer: the warm-up begins again, and training goes on.
    rows = read_metrics(tmp_path / "run" / "metrics.csv")
    assert [r["lr"] for r in rows[1:3]] == pytest.approx([5e-3, 1e-2])
    assert rows[3]["val_loss"] < before["val_loss"]
    saved = {p.name for p in (tmp_path / "run" / "checkpoints").iterdir()}
    assert saved == {"step-00000002.ckpt", "step-00000003.ckpt", "last.ckpt", "best.ckpt"}


@pytest.mark.slow
def test_nanogpts_weights_and_tokenizer(
    run: Path, compose: Compose, start_with: Callable[..., list[str]], tmp_path: Path
) -> None:
    """nanoGPT's MLP has the exact GELU, so the model is trained with that first."""
    model, tokenizer = load_language_model(run)
    exact = GPT(GPTConfig(**{**model.config.to_dict(), "activation": "gelu"}))
    exact.load_state_dict(model.state_dict())
    save_model(exact, tokenizer, tmp_path / "exact.ckpt")
    losses = []
    for checkpoint in (tmp_path / "exact.ckpt", _nanogpt(exact, tokenizer, tmp_path / "nano")):
        folder = tmp_path / checkpoint.stem
        pretrain(compose("train", *start_with(checkpoint, f"run_dir={folder}_run")))
        losses.append(_first(Path(f"{folder}_run"))["val_loss"])
    assert losses[0] == losses[1]


def test_the_first_validation_is_what_eval_measures(
    prose: str,
    compose: Compose,
    call: Callable[..., Any],
    start_with: Callable[..., list[str]],
    tmp_path: Path,
) -> None:
    """Validation windows do not overlap, which is `eval.py` with a stride of the whole context.

    One document, whose second half of 32 x 40 characters is held out, so that no window is padded.
    """
    held_out, context = prose[:1280], 32
    (tmp_path / "text.txt").write_text(prose[-1280:] + held_out)
    tokenizer = build_char_vocabulary([prose])
    torch.manual_seed(0)
    shape = {"n_layer": 1, "n_head": 2, "n_embd": 32, "block_size": context}
    model = GPT(GPTConfig(**shape, vocab_size=tokenizer.vocab_size))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    checkpoint = tmp_path / "char.ckpt"
    save_model(model, tokenizer, checkpoint)
    more = [f"data.path={tmp_path / 'text.txt'}", "data.val_fraction=0.5"]
    pretrain(compose("train", *start_with(checkpoint, *more)))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "enwik8_test.txt").write_text(held_out)
    ended = call(
        "eval.py",
        f"checkpoint={checkpoint}",
        "tasks=enwik8",
        f"data_dir={tmp_path / 'data'}",
        f"stride={context}",
        "device=cpu",
        f"run_dir={tmp_path / 'evaluation'}",
    )
    assert ended.returncode == 0, ended.stderr
    rows = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    report = {row["metric"]: row["value"] for row in rows}
    measured = report["bits_per_byte"]
    assert report["bytes"] == len(held_out)
    row = _first(tmp_path / "run")
    assert row["val_bits_per_byte"] == pytest.approx(measured, rel=1e-6)
    assert row["val_loss"] / math.log(2) == pytest.approx(measured, rel=1e-6)  # a byte a token


def test_the_context_may_shrink_and_dropout_may_be_set(small_checkpoint: Path) -> None:
    whole, _ = load_language_model(small_checkpoint)
    changes = {"block_size": 16, "resid_dropout": 0.1, "n_layer": 2}
    model, _ = load_start(str(small_checkpoint), changes)
    assert model.config == GPTConfig(**{**whole.config.to_dict(), **changes})
    assert model.training
    assert model.wpe.weight.shape == (16, 32)
    assert model.lm_head.weight is model.wte.weight
    tokens = torch.randint(280, (2, 16))
    assert torch.equal(model.eval()(tokens), whole(tokens))  # earlier positions see no later ones


def test_sinusoidal_positions_may_shrink(prose: str, tmp_path: Path) -> None:
    shape = {"n_layer": 1, "n_head": 2, "n_embd": 32, "block_size": 64, "vocab_size": 280}
    whole = GPT(GPTConfig(**shape, positions="sinusoidal")).eval()
    save_model(whole, train_bpe([prose], 280), tmp_path / "a.ckpt")
    model, _ = load_start(str(tmp_path / "a.ckpt"), {"block_size": 8})
    tokens = torch.randint(280, (2, 8))
    assert torch.equal(model.eval()(tokens), whole(tokens))


def test_a_padded_vocabulary_keeps_its_rows(small_checkpoint: Path, tmp_path: Path) -> None:
    """Hugging Face's folders may have more rows than ids; without them losses would change."""
    small, tokenizer = load_language_model(small_checkpoint)
    padded = GPT(GPTConfig(**{**small.config.to_dict(), "vocab_size": 320}))
    save_model(padded, tokenizer, tmp_path / "padded.ckpt")
    convert(tmp_path / "padded.ckpt", tmp_path / "folder")
    model, same = load_start(str(tmp_path / "folder"), {})
    assert (model.config.vocab_size, same.vocab_size) == (320, 280)
    unrelated = GPT(GPTConfig(**{**small.config.to_dict(), "vocab_size": 500}))
    save_model(unrelated, tokenizer, tmp_path / "unrelated.ckpt")
    convert(tmp_path / "unrelated.ckpt", tmp_path / "other")
    with pytest.raises(UserError, match="280 ids and the model 500; they do not belong together"):
        load_start(str(tmp_path / "other"), {})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["model.n_layer=3"], "model.n_layer=3: checkpoint=.* has 2"),
        (["model.block_size=65"], "model.block_size=65: .* has 64, and no weights for positions"),
        (["model.vocab_size=300"], "model.vocab_size=300: .* has 280"),
        (["model=tiny"], "model.n_layer=4: .* has 2(.|\n)*model.n_embd=128: .* has 32"),
        (["model.n_embd=30"], "model.n_embd=30: .* has 32"),
        (["model.positions=sinusoidal"], "model.positions=sinusoidal: .* has learned"),
        (["tokenizer=gpt2"], "brings the tokenizer .*leave tokenizer= and tokenizer.KEY= out"),
        (["tokenizer.vocab_size=300"], "brings the tokenizer that its weights"),
    ],
)
def test_what_contradicts_the_checkpoint_is_refused_by_name(
    given: list[str],
    message: str,
    compose: Compose,
    start_with: Callable[..., list[str]],
    small_checkpoint: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(UserError, match=message):
        pretrain(compose("train", *start_with(small_checkpoint, *given)))
    assert not (tmp_path / "run").exists()


def test_what_agrees_with_the_checkpoint_is_accepted(
    compose: Compose, start_with: Callable[..., list[str]], small_checkpoint: Path, tmp_path: Path
) -> None:
    more = ["model.n_embd=32", "model.vocab_size=280", "model.block_size=32"]
    pretrain(compose("train", *start_with(small_checkpoint, *more)))
    assert load(tmp_path / "run").model.config.block_size == 32


def test_the_shape_and_tokenizer_of_an_experiment_give_way(
    compose: Compose, small_checkpoint: Path
) -> None:
    checkpoint = f"checkpoint={small_checkpoint}"
    settings = compose("train", "experiment=webtext", checkpoint, "data.path=shards")
    assert settings.tokenizer is None
    assert settings.model.model_fields_set == set()
    assert settings.trainer.max_steps == 600_000  # the rest of the recipe stays


def test_without_a_checkpoint_a_model_and_a_tokenizer_are_needed(compose: Compose) -> None:
    with pytest.raises(UserError, match="tokenizer has no value"):
        compose("train", "tokenizer=null")
    with pytest.raises(UserError, match="model has no value"):
        compose("train", "model=null")


def test_a_classifier_is_refused(
    small_checkpoint: Path, tmp_path: Path, compose: Compose, start_with: Callable[..., list[str]]
) -> None:
    body, tokenizer = load_language_model(small_checkpoint)
    classifier, tokens = add_head(
        body, tokenizer, ["no", "yes"], pairs=False, both_orders=False, dropout=0.0
    )
    save_model(classifier, tokens, tmp_path / "classifier.ckpt")
    with pytest.raises(UserError, match="is a classifier, .* give the model that it was fine-tune"):
        pretrain(compose("train", *start_with(tmp_path / "classifier.ckpt")))


def test_a_character_that_the_vocabulary_lacks(
    tmp_path: Path, compose: Compose, start_with: Callable[..., list[str]]
) -> None:
    tokenizer = build_char_vocabulary(["abcdefgh "])
    shape = {"n_layer": 1, "n_head": 2, "n_embd": 32, "block_size": 32}
    model = GPT(GPTConfig(**shape, vocab_size=tokenizer.vocab_size))
    save_model(model, tokenizer, tmp_path / "char.ckpt")
    message = (
        "the tokenizer of checkpoint=.*char.ckpt cannot encode this text: character 0, 'o', is n"
    )
    with pytest.raises(UserError, match=message):
        pretrain(compose("train", *start_with(tmp_path / "char.ckpt")))
    assert not (tmp_path / "run").exists()
    assert not list((tmp_path / "cache").glob("files-*/"))


@pytest.mark.slow
def test_shards_need_the_checkpoints_tokenizer(
    small_checkpoint: Path,
    prose: str,
    prose_file: Path,
    tmp_path: Path,
    compose: Compose,
    start_with: Callable[..., list[str]],
) -> None:
    """The hash tells; where it differs in form only, as that of GPT-2's files, the tokens do."""
    tokenizer = load(small_checkpoint).tokenizer
    other = train_bpe([prose], 270)
    contents = json.loads(tokenizer.to_json())
    contents["post_processor"] = {
        "type": "ByteLevel",
        "add_prefix_space": True,
        "trim_offsets": False,
        "use_regex": True,
    }
    equal = Tokenizer.from_json(json.dumps(contents))
    assert equal.hash != tokenizer.hash
    for name, own in (("same", tokenizer), ("equal", equal), ("other", other)):
        shards = prepare_shards(Files(str(prose_file), val_fraction=0.1), own, tmp_path / name)
        given = ["data=shards", f"data.path={shards.folder}", f"run_dir={tmp_path / name}_run"]
        kept = [o for o in start_with(small_checkpoint) if not o.startswith(("data", "run_dir"))]
        if name != "other":
            pretrain(compose("train", *kept, *given))
            continue
        both = f"270 ids, SHA-256 {other.hash[:12]}.*280 ids, {tokenizer.hash[:12]}"
        with pytest.raises(UserError, match=both):
            pretrain(compose("train", *kept, *given))


@pytest.mark.slow
def test_a_run_resumes_without_the_checkpoint_it_started_from(
    small_checkpoint: Path,
    tmp_path: Path,
    compose: Compose,
    start_with: Callable[..., list[str]],
) -> None:
    """Interrupted and resumed is uninterrupted, and the start is gone meanwhile."""
    start = tmp_path / "start.ckpt"
    shutil.copy(small_checkpoint, start)
    more = ["model.block_size=16", "model.attn_dropout=0.1", "scheduler=constant"]
    pretrain(compose("train", *start_with(start, *more), f"run_dir={tmp_path / 'whole'}"))
    pretrain(compose("train", *start_with(start, *more), "trainer.max_steps=2"))
    start.unlink()
    pretrain(compose("train", f"resume={tmp_path / 'run'}", "trainer.max_steps=3"))
    rows, whole = (read_metrics(tmp_path / name / "metrics.csv") for name in ("run", "whole"))
    assert [row["train_loss"] for row in rows[1:]] == [row["train_loss"] for row in whole[1:]]
    assert rows[-1]["val_loss"] == whole[-1]["val_loss"]
    assert "start.ckpt" in (tmp_path / "run" / "config.yaml").read_text()
    table = estimate(compose("train", f"resume={tmp_path / 'run'}", "estimate=true"))
    assert "context 16, vocabulary 280" in table


def test_resume_keeps_to_the_checkpoint_the_run_started_from(
    run: Path,
    small_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    compose: Compose,
    start_with: Callable[..., list[str]],
) -> None:
    auto = ["resume=auto", "trainer.max_steps=4"]
    monkeypatch.chdir(small_checkpoint.parent)
    pretrain(compose("train", *start_with(small_checkpoint.name)))  # relative: made absolute
    pretrain(compose("train", *start_with(small_checkpoint.name, *auto)))  # the same command again
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["step"] == 4
    for given in ([*start_with(run, *auto)], [f"resume={tmp_path / 'run'}", f"checkpoint={run}"]):
        message = rf"started from checkpoint={small_checkpoint}, and this call gives checkpoint="
        with pytest.raises(UserError, match=message):
            pretrain(compose("train", *given))
    with pytest.raises(UserError, match="continues that run from its own weights; leave checkpoin"):
        pretrain(compose("train", f"resume={run}", f"checkpoint={small_checkpoint}"))


def test_the_estimate_is_of_the_checkpoints_model(
    small_checkpoint: Path, compose: Compose, start_with: Callable[..., list[str]]
) -> None:
    table = estimate(compose("train", *start_with(small_checkpoint), "estimate=true"))
    model, _ = load_language_model(small_checkpoint)
    assert f"{model.num_parameters:,} parameters, context 64, vocabulary 280" in table
    with pytest.raises(UserError, match=r"model.n_layer=9: .* has 2"):
        estimate(compose("train", *start_with(small_checkpoint), "model.n_layer=9"))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "deepspeed_zero2"])
def test_two_processes_start_from_the_same_weights(
    strategy: str,
    small_checkpoint: Path,
    tmp_path: Path,
    compose: Compose,
    start_with: Callable[..., list[str]],
) -> None:
    """As one process; and resumed without the start; and the run they leave is a start itself."""
    start = tmp_path / "start.ckpt"
    shutil.copy(small_checkpoint, start)
    given = [*start_with(start, "micro_batch_size=2"), "trainer.max_steps=2"]
    pretrain(compose("train", *given, "trainer.max_steps=4", f"run_dir={tmp_path / 'one'}"))
    several = [f"strategy={strategy}", "trainer.devices=2"]
    train = [sys.executable, str(Path(__file__).parents[3] / "train.py")]
    subprocess.run([*train, *given, *several], check=True, timeout=300)
    start.unlink()
    longer = [f"resume={tmp_path / 'run'}", "trainer.max_steps=4"]
    subprocess.run([*train, *longer], check=True, timeout=300)
    one, two = (read_metrics(tmp_path / name / "metrics.csv") for name in ("one", "run"))
    assert two[0]["val_loss"] == pytest.approx(one[0]["val_loss"], abs=1e-5)
    assert [row["step"] for row in two] == [0, 1, 2, 3, 4]
    losses = [[row["train_loss"] for row in rows[1:]] for rows in (one, two)]
    assert losses[0] == pytest.approx(losses[1], abs=2e-4)
    last = f"checkpoint={tmp_path / 'run' / 'checkpoints' / 'last.ckpt'}"
    kept = [o for o in given if not o.startswith(("checkpoint=", "run_dir="))]
    pretrain(compose("train", *kept, last, f"run_dir={tmp_path / 'next'}"))
    assert _first(tmp_path / "next")["val_loss"] == pytest.approx(two[-1]["val_loss"], abs=1e-6)
