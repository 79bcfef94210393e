"""Benchmarks selected by name, and the list of names in `eval.py --help`."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.registry import BENCHMARKS, select_benchmarks

REPOSITORY = Path(__file__).parents[3]


def test_tasks_are_selected_by_name() -> None:
    assert [b.name for b in select_benchmarks("all")] == list(BENCHMARKS)
    assert [b.name for b in select_benchmarks(["ptb", "lambada", "ptb"])] == ["ptb", "lambada"]
    for names in (["lambda"], []):
        with pytest.raises(UserError, match="tasks: all, lambada, cbt_cn"):
            select_benchmarks(names)
    assert len(select_benchmarks(["ptb", "all"])) == len(BENCHMARKS)


def test_help_lists_every_benchmark() -> None:
    template = OmegaConf.load(REPOSITORY / "conf" / "eval.yaml").hydra.help.template
    listed = template.partition("tasks:")[2].partition("==")[0].split()
    assert listed == list(BENCHMARKS), "conf/eval.yaml: list these names under hydra.help.template"
