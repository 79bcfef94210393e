"""Options that exclude one another: one message names both, and nothing is written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.settings import saved
from webtext_gpt.settings.reading import read
from webtext_gpt.settings.train import Train
from webtext_gpt.training.pretrain import pretrain

Compose = Callable[..., Any]


@pytest.mark.parametrize(
    ("command", "given", "named"),
    [
        ("train", "optimizer=muon strategy=deepspeed_zero3", "optimizer=muon strategy=deepspeed_"),
        ("train", "recipe=modern strategy=fsdp", "optimizer=muon strategy=fsdp"),
        ("train", "recipe=modern strategy=deepspeed_zero2 strategy.stage=3", "=muon zero3"),
        ("train", "recipe=modern model.n_embd=6 model.n_head=2", "positions=rotary n_embd=6"),
        ("finetune", "checkpoint=x optimizer=muon layers=0", "optimizer=muon layers=0"),
    ],
)
def test_a_call_is_refused_by_the_names_of_both(
    command: str,
    given: str,
    named: str,
    compose: Compose,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as refused:
        compose(command, *given.split(), f"run_dir={tmp_path / 'run'}")
    assert all(key in str(refused.value) for key in named.split()), refused.value
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", [["recipe=modern"], ["recipe=modern", "optimizer=adamw"]])
def test_what_a_recipe_sets_is_read_again_on_resuming(
    given: list[str], compose: Compose, tmp_path: Path
) -> None:
    settings = compose("train", *given, f"run_dir={tmp_path}")
    saved.save(settings, tmp_path)
    again = read(Train, saved.load(tmp_path))
    assert again.model == settings.model
    assert again.optimizer == settings.optimizer


def test_a_recipe_that_a_checkpoint_contradicts_is_refused(
    compose: Compose, small_run: list[str], small_checkpoint: Path, tmp_path: Path
) -> None:
    """The options that differ are named with the checkpoint."""
    shape = ("tokenizer.", "model.")
    run = [option for option in small_run if not option.startswith(shape)]
    with pytest.raises(UserError) as refused:
        pretrain(compose("train", *run, "recipe=modern", f"checkpoint={small_checkpoint}"))
    for option in ("positions=rotary", "norm_type=rms", "activation=relu_squared"):
        assert f"model.{option}: checkpoint={small_checkpoint} has " in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_resumed_run_refuses_another_recipe(
    compose: Compose, small_run: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    short = ["callbacks.samples=null", "validate_every=9", "optimizer=muon"]
    pretrain(compose("train", *small_run, *short, "trainer.max_steps=1"))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    auto = [*small_run, *short, "resume=auto", "trainer.max_steps=2"]
    resumed = [f"resume={run}", "trainer.max_steps=2"]
    for given, named in (
        ([*resumed, "recipe=modern"], "recipe=modern resume="),
        ([*resumed, "optimizer=adamw"], "optimizer=adamw resume="),
        ([*auto, "recipe=modern"], "positions=learned rotary"),
        ([*auto, "optimizer=adamw"], "optimizer=muon optimizer=adamw"),
        ([*resumed, "model.qk_norm=true"], "qk_norm=False True"),
        ([*resumed, "packing=best_fit"], "packing=stream"),
    ):
        with pytest.raises(UserError) as refused:
            pretrain(compose("train", *given))
        assert all(key in str(refused.value) for key in named.split()), refused.value
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert {path: after.get(path) for path in before} == before
