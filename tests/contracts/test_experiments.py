"""The recipes take their first step, with a small model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from webtext_gpt.training.loggers import read_metrics
from webtext_gpt.training.pretrain import pretrain
from webtext_gpt.translation.run import train_translator

SHRUNK = ["model.n_layer=1", "model.n_head=2", "model.n_embd=32", "model.block_size=16"]


def test_gpt1(compose: Callable[..., Any], prose_file: Path, tmp_path: Path) -> None:
    recipe = ["experiment=gpt1", f"data.path={prose_file}", "tokenizer.vocab_size=280"]
    _first_step(compose, [*recipe, "model.vocab_size=280"], tmp_path, peak=2.5e-4)


@pytest.mark.slow
def test_gpt2_small_openwebtext(
    compose: Callable[..., Any], prose_file: Path, realdata: Path, tmp_path: Path
) -> None:
    recipe = ["experiment=gpt2_small_openwebtext", f"tokenizer.path={realdata / 'tokenizer'}"]
    local = ["data.name=text", f"data.data_files={prose_file}", "data.val_fraction=0.1"]
    _first_step(compose, [*recipe, *local], tmp_path, peak=6e-4)


def test_speedrun_tiny(compose: Callable[..., Any], prose_file: Path, tmp_path: Path) -> None:
    """Trains on the docstrings; here on another text, which takes no minute to read."""
    local = ["data=files", f"data.path={prose_file}", "tokenizer.vocab_size=280"]
    _first_step(compose, ["experiment=speedrun_tiny", *local], tmp_path, peak=0.02, warmup=10)


@pytest.mark.slow
def test_speedrun_small(
    compose: Callable[..., Any], prose_file: Path, realdata: Path, tmp_path: Path
) -> None:
    recipe = ["experiment=speedrun_small", f"tokenizer.path={realdata / 'tokenizer'}"]
    local = ["data.name=text", "data.config=null", f"data.data_files={prose_file}"]
    held_out = ["data.val_fraction=0.1"]
    _first_step(compose, [*recipe, *local, *held_out], tmp_path, peak=0.025, warmup=1)


def test_chorales(compose: Callable[..., Any], tmp_path: Path) -> None:
    piece = [[60, 55, 52, 48]] * 16
    (tmp_path / "bach.json").write_text(json.dumps({"train": [piece], "valid": [piece]}))
    recipe = ["experiment=chorales", f"data.path={tmp_path / 'bach.json'}"]
    _first_step(compose, recipe, tmp_path, peak=0.02, warmup=20)


def test_translation(compose: Callable[..., Any], tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("".join(f"a cat {n}\teine Katze {n}\n" for n in range(200)))
    recipe = ["experiment=translation", f"data.source={pairs}", "tokenizer.vocab_size=270"]
    small = ["model.n_embd=32", "model.n_encoder_layer=1", "model.n_decoder_layer=1"]
    short = ["trainer.max_steps=1", "trainer.log_every_n_steps=1", "trainer.accelerator=cpu"]
    settings = compose("train", *recipe, *small, *short, f"run_dir={tmp_path / 'run'}")
    assert train_translator(settings)["step"] == 1
    assert "val_loss_average" in json.loads((tmp_path / "run" / "summary.json").read_text())
    (row,) = read_metrics(tmp_path / "run" / "metrics.csv")
    assert row["lr"] == pytest.approx(0.02 / 100)  # Muon's, in the first step of warm-up


def _first_step(
    compose: Callable[..., Any], recipe: list[str], folder: Path, peak: float, warmup: int = 2000
) -> None:
    places = [f"cache_dir={folder / 'cache'}", f"run_dir={folder / 'run'}"]
    short = ["global_batch_tokens=64", "trainer.max_steps=1", "trainer.log_every_n_steps=1"]
    device = ["trainer.accelerator=cpu", "trainer.devices=1"]
    summary = pretrain(compose("train", *recipe, *SHRUNK, *short, *device, *places))
    assert summary["step"] == 1
    (row,) = read_metrics(folder / "run" / "metrics.csv")
    assert row["lr"] == pytest.approx(peak / warmup)  # the first step of warm-up
