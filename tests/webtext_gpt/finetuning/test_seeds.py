"""Runs of several seeds, and the mean and deviation over them, worked out by hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.command import run_command
from webtext_gpt.finetuning.seeds import mean_and_deviation, seeds_table

SUMMARIES = {
    0: {"accuracy": 0.8, "rows": 10, "name": "a", "best": True, "loss": 1.0, "early": 3.0},
    1: {"accuracy": 0.9, "rows": 10, "name": "b", "best": True, "loss": float("nan")},
    7: {"accuracy": 1.0, "rows": 40, "name": "c", "best": True, "loss": 2.0},
}


def test_mean_and_sample_deviation_of_figures_that_all_seeds_have() -> None:
    found = mean_and_deviation(SUMMARIES)
    assert set(found) == {"accuracy", "rows"}
    assert found["accuracy"] == pytest.approx({"mean": 0.9, "deviation": 0.1})
    assert found["rows"] == pytest.approx({"mean": 20, "deviation": 300**0.5})


def test_one_seed_and_none() -> None:
    assert mean_and_deviation({3: {"f1": 0.25}}) == {"f1": {"mean": 0.25, "deviation": 0.0}}
    assert mean_and_deviation({}) == {}


def test_table() -> None:
    assert seeds_table(SUMMARIES, ["accuracy", "rows", "early"]).splitlines() == [
        "seed                     accuracy               rows   early",
        "0                          0.8000                 10  3.0000",
        "1                          0.9000                 10       -",
        "7                          1.0000                 40       -",
        "mean ± deviation  0.9000 ± 0.1000  20.0000 ± 17.3205       -",
    ]


@pytest.mark.slow
def test_each_seed_is_a_run_of_its_own(
    finetune: Callable[..., dict],
    compose: Callable[..., Any],
    tmp_path: Path,
) -> None:
    summary = finetune("seeds=[0,1]")
    own = {
        seed: json.loads((tmp_path / f"run/seed-{seed}/summary.json").read_text())
        for seed in (0, 1)
    }
    first, second = (own[seed]["val_loss"] for seed in (0, 1))
    assert first != second
    figures = summary["mean_and_deviation"]["val_loss"]
    assert figures["mean"] == pytest.approx((first + second) / 2)
    assert figures["deviation"] == pytest.approx(abs(first - second) / 2**0.5)
    alone = finetune("seed=1", f"run_dir={tmp_path / 'alone'}")
    assert alone["val_loss"] == second
    with pytest.raises(UserError, match="already holds a run"):
        finetune("seeds=[0,1]")
    with pytest.raises(UserError, match="started with other settings of lm_weight"):
        finetune("seeds=[0,1]", "resume=auto", "lm_weight=0")
    again = run_command(compose("finetune", f"resume={tmp_path / 'run'}", "seeds=[0,1,2]"))
    assert again["seeds"]["1"] == summary["seeds"]["1"]
    assert set(again["seeds"]) == {"0", "1", "2"}
    with pytest.raises(UserError, match="seeds=.* trains with one process"):
        finetune("seeds=[0]", "trainer.devices=2", f"run_dir={tmp_path / 'two'}")
