"""Benchmarks during training: measured at the set steps, logged, and without effect on training."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from webtext_gpt.checkpoint.load import load_language_model
from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Options
from webtext_gpt.evaluation.data_source import MissingDataError
from webtext_gpt.evaluation.registry import BENCHMARKS
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.training.callbacks.zero_shot import ZeroShot
from webtext_gpt.training.pretrain import pretrain


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    (tmp_path / "ptb_test.txt").write_text(" the cat sees a dog \n" * 3)
    return tmp_path


def test_figures_of_the_right_steps_are_logged(
    compose: Callable[..., Any], small_run: list[str], data_dir: Path, tmp_path: Path
) -> None:
    plain = ["model.resid_dropout=0.1", "trainer.max_steps=6", "validate_every=6"]
    zero_shot = [
        "callbacks=zero_shot",
        "callbacks.zero_shot.every=3",
        "callbacks.zero_shot.tasks=[ptb]",
        f"callbacks.zero_shot.data_dir={data_dir}",
    ]
    pretrain(compose("train", *small_run, *plain, *zero_shot))
    rows = {int(r["step"]): r for r in csv.DictReader((tmp_path / "run/metrics.csv").open())}
    assert [step for step, row in rows.items() if row["ptb_perplexity"]] == [3, 6]
    model, tokenizer = load_language_model(tmp_path / "run" / "checkpoints" / "last.ckpt")
    expected = BENCHMARKS["ptb"].run(Scorer(model, tokenizer), data_dir, Options())
    logged = float(rows[6]["ptb_perplexity"])
    assert logged == pytest.approx(expected.metrics["perplexity"], rel=1e-4)

    pretrain(compose("train", *small_run, *plain, f"run_dir={tmp_path / 'without'}"))
    without, _ = load_language_model(tmp_path / "without" / "checkpoints" / "last.ckpt")
    for mine, other in zip(model.parameters(), without.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_missing_data_is_reported_before_training(
    compose: Callable[..., Any], small_run: list[str], tmp_path: Path
) -> None:
    overrides = ["callbacks=zero_shot", f"callbacks.zero_shot.data_dir={tmp_path}"]
    with pytest.raises(MissingDataError, match="lambada_test.jsonl"):
        pretrain(compose("train", *small_run, *overrides))
    with pytest.raises(UserError, match="every=0"):
        ZeroShot(every=0, tasks=["lambada"])
    with pytest.raises(UserError, match="there is no task 'lambda'"):
        ZeroShot(every=1, tasks=["lambda"])
