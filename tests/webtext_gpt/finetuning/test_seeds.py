"""Mean and deviation over seeds, worked out by hand."""

import pytest

from webtext_gpt.finetuning.seeds import mean_and_deviation, seeds_table

SUMMARIES = {
    0: {"accuracy": 0.8, "rows": 10, "name": "a", "best": True, "loss": 1.0, "early": 3.0},
    1: {"accuracy": 0.9, "rows": 10, "name": "b", "best": True, "loss": float("nan")},
    7: {"accuracy": 1.0, "rows": 40, "name": "c", "best": True, "loss": 2.0},
}


def test_sample_deviation_of_what_all_seeds_have() -> None:
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
