"""`scheduler=wsd`: a run continued from before its decay equals one planned long from the start."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from webtext_gpt.checkpoint.load import load_language_model
from webtext_gpt.checkpoint.store import read_checkpoint
from webtext_gpt.errors import UserError
from webtext_gpt.training.loggers import read_metrics
from webtext_gpt.training.pretrain import PretrainingModule, pretrain

Start = Callable[..., dict[str, Any]]


@pytest.fixture
def train(compose: Callable[..., Any], small_run: list[str]) -> Start:
    """`train(*arguments)`: 10 steps whose last 4 decay, checkpoints every 7 steps."""
    base = [o for o in small_run if not o.startswith(("scheduler", "callbacks.checkpoints"))]
    base += ["scheduler=wsd", "scheduler.warmup_steps=2", "scheduler.decay_ratio=0.4"]
    base += ["trainer.max_steps=10", "callbacks.checkpoints.save_every=7"]
    base += ["callbacks.samples=null", "callbacks.loss_curve=null"]
    return lambda *arguments: pretrain(compose("train", *base, *arguments))


@pytest.mark.slow
def test_a_longer_run_continues_from_before_the_decay(
    train: Start, compose: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    saved = run / "checkpoints"
    train("callbacks.checkpoints.keep_last=1")
    printed = capsys.readouterr().out
    kept = re.search(r"decays from step 6 on; (\S+) is kept", printed)
    assert kept is not None
    assert Path(kept[1]) == saved / "step-00000006.ckpt"
    short = read_checkpoint(saved / "last.ckpt")
    assert short["global_step"] == 10
    rates = [row["lr"] for row in read_metrics(run / "metrics.csv")]
    assert rates == pytest.approx([0.005, *[0.01] * 6, 0.0075, 0.005, 0.0025])

    resume = [f"resume={run}", "trainer.max_steps=15"]
    assert pretrain(compose("train", *resume))["step"] == 15
    printed = capsys.readouterr().out
    assert "resumes from step-00000006.ckpt, before the learning rate decayed" in printed
    assert "decays from step 9 on" in printed
    train(f"run_dir={whole}", "trainer.max_steps=15")
    found, expected = (read_metrics(folder / "metrics.csv") for folder in (run, whole))
    assert [row["step"] for row in found] == list(range(1, 16))
    for ours, row in zip(found, expected, strict=True):
        for column in ("train_loss", "val_loss", "lr", "grad_norm"):
            assert ours.get(column) == row.get(column), (column, row["step"])
    weights, theirs = (read_checkpoint(f / "checkpoints" / "last.ckpt") for f in (run, whole))
    for name, value in theirs["state_dict"].items():
        assert torch.equal(weights["state_dict"][name], value), name

    decayed = saved / "decayed-00000010.ckpt"  # the model of the short run is still there
    model, _ = load_language_model(decayed)
    assert torch.equal(model.wte.weight, short["state_dict"]["model.wte.weight"])
    with pytest.raises(UserError, match="has taken its 15 steps"):
        pretrain(compose("train", f"resume={run}"))


@pytest.mark.slow
@pytest.mark.parametrize("is_interrupted", [False, True])
def test_the_best_checkpoint_before_the_decay_is_that_of_a_longer_run(
    is_interrupted: bool,
    train: Start,
    compose: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It stays when the decay gives a better one, from which the longer run does not come."""

    def figures(module: PretrainingModule) -> dict[str, float]:
        decayed = 0.5 if module.trainer.max_steps == 10 else 3.0
        loss = {2: 1.0, 4: 2.0, 6: 2.0}.get(module.global_step, decayed)
        return {"val_loss": loss, "val_perplexity": math.exp(loss), "val_bits_per_byte": loss}

    monkeypatch.setattr(PretrainingModule, "validation_figures", figures)
    saved = tmp_path / "run" / "checkpoints"
    train("validate_every=2", "callbacks.checkpoints.save_every=1")
    if is_interrupted:
        for name in ("step-00000009.ckpt", "step-00000010.ckpt"):
            (saved / name).unlink()
        assert train("resume=auto", "validate_every=2")["step"] == 10
    assert (saved / "best.ckpt").resolve().name == "step-00000008.ckpt"
    resume = [f"resume={tmp_path / 'run'}", "trainer.max_steps=15"]
    assert pretrain(compose("train", *resume))["best_val_loss"] == 1.0
    assert (saved / "best.ckpt").resolve().name == "step-00000002.ckpt"


def test_a_run_interrupted_in_its_decay_goes_on_there(train: Start, tmp_path: Path) -> None:
    train()
    run = tmp_path / "run"
    (run / "checkpoints" / "step-00000010.ckpt").unlink()
    (run / "summary.json").unlink()
    before = read_metrics(run / "metrics.csv")
    assert train("resume=auto")["step"] == 10
    assert [row["train_loss"] for row in read_metrics(run / "metrics.csv")] == (
        [row["train_loss"] for row in before]
    )
    assert not list((run / "checkpoints").glob("decayed-*"))


@pytest.mark.slow
def test_without_a_checkpoint_before_the_decay_a_longer_run_is_refused(
    train: Start, tmp_path: Path
) -> None:
    train()
    (tmp_path / "run" / "checkpoints" / "step-00000006.ckpt").unlink()
    with pytest.raises(UserError, match="has decayed since step 6, and no checkpoint from before"):
        train("resume=auto", "trainer.max_steps=15")
    assert (tmp_path / "run" / "checkpoints" / "step-00000010.ckpt").exists()


@pytest.mark.slow
def test_fine_tuning_continues_from_before_the_decay(
    finetune: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    wsd = ["scheduler=wsd", "scheduler.warmup_steps=2", "callbacks.early_stopping=null"]
    finetune(*wsd, "trainer.max_steps=10")
    finetune(*wsd, "trainer.max_steps=null", "epochs=0.5", "resume=auto")  # 15 steps of 240 rows
    finetune(*wsd, "trainer.max_steps=15", f"run_dir={tmp_path / 'whole'}")
    losses = [
        [row["train_loss"] for row in read_metrics(tmp_path / name / "metrics.csv")]
        for name in ("run", "whole")
    ]
    assert len(losses[0]) == 15
    assert losses[0] == losses[1]
