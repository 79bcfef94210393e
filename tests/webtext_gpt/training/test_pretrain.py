"""A complete pretraining run in this process: its files, its losses, and refused settings."""

import csv
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch

from webtext_gpt.checkpoint.load import load_language_model
from webtext_gpt.data.pretraining import ValidationWindows
from webtext_gpt.data.shards import TokenShards
from webtext_gpt.errors import UserError
from webtext_gpt.training.callbacks.console import Console
from webtext_gpt.training.loggers import read_metrics
from webtext_gpt.training.pretrain import pretrain

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def finished(
    compose: Callable[..., Any],
    small_run_in: Callable[[Path], list[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    overrides = [*small_run_in(folder), "trainer.max_steps=40", "validate_every=20"]
    pretrain(compose("train", *overrides))
    return folder / "run"


def test_a_run_leaves_its_files(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    expected = {"checkpoints", "metrics.csv", "loss.png", "samples.txt", "summary.json"}
    assert names == expected | {"config.yaml", "report.md", "report.html"}
    assert (finished / "loss.png").read_bytes().startswith(PNG)
    saved = finished / "checkpoints"
    steps = {
        "step-00000038.ckpt",
        "step-00000040.ckpt",
    }  # saved every second step, the newest two kept
    assert {p.name for p in saved.iterdir()} == {"best.ckpt", "last.ckpt", *steps}
    assert (saved / "last.ckpt").readlink() == Path(
        "step-00000040.ckpt"
    )  # relative, so that the run can be moved
    rows = list(csv.DictReader((finished / "metrics.csv").open()))
    assert [int(row["step"]) for row in rows] == list(range(1, 41))
    assert {"train_loss", "val_loss", "lr", "tokens", "tokens_per_second"} <= set(rows[0])
    assert float(rows[-1]["tokens"]) == 40 * 256
    text = (finished / "samples.txt").read_text()
    assert text.count("=== step") == 2


def test_the_summary_measures_the_last_weights(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["step"] == 40
    assert summary["tokens"] == 40 * 256
    assert summary["seconds"] > 0
    assert summary["tokens_per_second"] > 0
    model, _ = load_language_model(finished / "checkpoints" / "last.ckpt")
    shards = TokenShards(next((finished.parent / "cache").glob("files-*/")))
    stream = shards.split("validation")
    windows = ValidationWindows(stream, model.config.block_size)
    nats, tokens = 0.0, 0
    for inputs, targets in (windows[i] for i in range(len(windows))):
        log_probabilities = model(inputs[None])[0].log_softmax(-1)
        for position, target in enumerate(targets.tolist()):
            if target >= 0:
                nats -= log_probabilities[position, target].item()
                tokens += 1
    n_bytes = sum(len(shards.tokenizer.decode(d).encode()) for d in stream.documents())
    assert tokens == stream.n_tokens - 1
    assert summary["val_loss"] == pytest.approx(nats / tokens, rel=1e-4)
    assert summary["val_perplexity"] == pytest.approx(math.exp(nats / tokens), rel=1e-4)
    assert summary["val_bits_per_byte"] == pytest.approx(nats / math.log(2) / n_bytes, rel=1e-4)


def test_the_loss_falls(finished: Path) -> None:
    rows = list(csv.DictReader((finished / "metrics.csv").open()))
    assert float(rows[0]["train_loss"]) == pytest.approx(math.log(280), rel=0.03)
    assert float(rows[-1]["train_loss"]) < 4


def test_checkpoints_hold_plain_values(finished: Path) -> None:
    checkpoint = torch.load(finished / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["model_config"]["n_embd"] == 32
    assert json.loads(checkpoint["tokenizer"])["model"]["type"] == "BPE"


def test_max_tokens_gives_the_length(compose: Callable[..., Any], small_run: list[str]) -> None:
    tokens = ["trainer.max_steps=null", "trainer.max_tokens=1000"]
    summary = pretrain(compose("train", *small_run, *tokens))
    assert summary["step"] == 4  # 256 tokens a step, rounded up
    assert summary["tokens"] == 1024


def test_max_minutes_ends_training(compose: Callable[..., Any], small_run: list[str]) -> None:
    overrides = ["trainer.max_steps=1000000", "trainer.max_minutes=0.03", "validate_every=100000"]
    summary = pretrain(compose("train", *small_run, *overrides))
    assert 1 <= summary["step"] < 1_000_000
    assert "val_loss" in summary


@pytest.mark.slow
def test_compiled_training_has_the_same_losses_and_names(
    compose: Callable[..., Any], small_run: list[str], finished: Path, tmp_path: Path
) -> None:
    overrides = ["trainer.max_steps=3", f"run_dir={tmp_path / 'compiled'}", "compile=true"]
    pretrain(compose("train", *small_run, *overrides))
    eager = list(csv.DictReader((finished / "metrics.csv").open()))[:1]
    compiled = list(csv.DictReader((tmp_path / "compiled" / "metrics.csv").open()))[:1]
    assert float(compiled[0]["train_loss"]) == pytest.approx(
        float(eager[0]["train_loss"]), rel=1e-4
    )
    load_language_model(tmp_path / "compiled")


@pytest.mark.slow
def test_recomputed_activations_change_nothing(
    compose: Callable[..., Any], small_run: list[str], tmp_path: Path
) -> None:
    dropout = [f"model.{place}_dropout=0.1" for place in ("embd", "attn", "resid")]
    curves = []
    for recompute in (False, True):
        run = tmp_path / str(recompute)
        overrides = [*dropout, f"activation_checkpointing={recompute}", f"run_dir={run}"]
        pretrain(compose("train", *small_run, *overrides))
        curves.append([row["train_loss"] for row in read_metrics(run / "metrics.csv")])
    assert curves[0] == curves[1]


@pytest.mark.slow
def test_deepspeed_is_imported_only_when_used() -> None:
    code = "import sys, webtext_gpt.training.pretrain; print('deepspeed' in sys.modules)"
    command = [sys.executable, "-c", code]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert printed.strip() == "False"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["global_batch_tokens=250"], "nearest possible: 224 or 256"),
        (["model.vocab_size=279"], "model.vocab_size=279 does not hold the tokenizer's 280"),
        (
            ["tokenizer.vocab_size=200"],
            "tokenizer.vocab_size=200: expected a whole number of token ids, 257 or above",
        ),
        (["model.block_size=100000", "global_batch_tokens=100000"], "one block of"),
        (
            ["trainer.max_steps=0"],
            "trainer.max_steps=0: expected a whole number of optimizer",
        ),
        (["validate_every=0"], "validate_every=0"),
        (["trainer.precision=13"], "trainer.precision=13: expected auto, 32-true, bf16-mixed"),
        (["data.val_fraction=1.5"], "val_fraction=1.5"),
        (["data.path=/no/such/file"], "/no/such/file does not exist"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    compose: Callable[..., Any],
    small_run: list[str],
    tmp_path: Path,
    overrides: list[str],
    message: str,
) -> None:
    with pytest.raises(Exception, match=message) as caught:
        pretrain(compose("train", *small_run, *overrides))
    assert isinstance(caught.value, UserError) or isinstance(caught.value.__cause__, UserError)
    assert not (tmp_path / "run").exists()


def test_validations_before_the_last_may_be_a_sample(
    compose: Callable[..., Any], small_run: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """`validate_tokens`: windows spread over the split, then all of it; training is the same."""
    sampled = [*small_run, "trainer.max_steps=6", "validate_every=2", "validate_tokens=64"]
    summary = pretrain(compose("train", *sampled))
    run = Path(next(a for a in small_run if a.startswith("run_dir=")).partition("=")[2])
    whole = [*sampled[:-1], f"run_dir={run}_whole"]
    expected = pretrain(compose("train", *whole))
    assert summary["val_loss"] == expected["val_loss"]
    assert summary["val_share"] == 1
    assert "val_share" not in expected
    rows = [read_metrics(folder / "metrics.csv") for folder in (run, Path(f"{run}_whole"))]
    assert [r["train_loss"] for r in rows[0]] == [r["train_loss"] for r in rows[1]]
    shares = [row["val_share"] for row in rows[0] if "val_share" in row]
    assert capsys.readouterr().out.count(" tokens every 2 steps, all after the last\n") == 1
    assert shares[0] == shares[1] < shares[2] == 1
    assert rows[0][1]["val_loss"] != rows[1][1]["val_loss"]


def test_a_sampled_validation_is_made_whole_if_the_run_ends_with_it(
    compose: Callable[..., Any], small_run: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something asks to stop between the validation and the next step, as early stopping does."""

    def stop(self: Console, trainer: L.Trainer, module: L.LightningModule) -> None:
        trainer.should_stop = True

    monkeypatch.setattr(Console, "on_validation_end", stop)
    asked = ["trainer.max_steps=6", "validate_every=2", "validate_tokens=64"]
    summary = pretrain(compose("train", *small_run, *asked))
    assert (summary["step"], summary["val_share"]) == (2, 1)


def test_two_lengths_of_validations_are_refused(
    compose: Callable[..., Any], small_run: list[str]
) -> None:
    with pytest.raises(UserError, match=r"validate_tokens=64 .*trainer.limit_val_batches=2"):
        compose("train", *small_run, "validate_tokens=64", "trainer.limit_val_batches=2")


@pytest.mark.parametrize(
    ("tokens", "multiple", "expected", "scored"),
    [
        (4, 1, [0], 4),
        (9, 1, [0, 2, 4], 12),  # 3 windows of 4, at 0, 7/3 and 14/3
        (9, 2, [0, 2, 4, 7], 12),  # the last has no targets
        (99, 1, [*range(7)], 25),
    ],
)
def test_a_sample_is_spread_over_the_split(
    tokens: int, multiple: int, expected: list[int], scored: int
) -> None:
    stream = SimpleNamespace(n_tokens=26, read=lambda start, n: np.arange(26)[start : start + n])
    windows = ValidationWindows(stream, block_size=4)  # 25 targets: 6 windows of 4, and one of 1
    assert windows.spread(tokens, multiple) == expected
    assert sum(int((windows[i][1] >= 0).sum()) for i in expected) == scored
