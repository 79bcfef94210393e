"""Benchmarks selected by name, and the names that the settings accept."""

import pytest

from webtext_gpt.commands import COMMANDS
from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.registry import (
    BENCHMARKS,
    OTHERS,
    SUITES,
    select_benchmarks,
    select_suites,
)
from webtext_gpt.help import help_text
from webtext_gpt.settings import benchmarks


def test_tasks_are_selected_by_name() -> None:
    assert [b.name for b in select_benchmarks("all")] == list(BENCHMARKS)
    assert [b.name for b in select_benchmarks(["ptb", "lambada", "ptb"])] == ["ptb", "lambada"]
    for names in (["lambda"], []):
        with pytest.raises(UserError, match="tasks: all, lambada, cbt_cn"):
            select_benchmarks(names)
    assert len(select_benchmarks(["ptb", "all"])) == len(BENCHMARKS)


def test_a_suite_selects_its_members_which_can_be_selected_alone() -> None:
    assert len(select_benchmarks("core")) == 22
    assert [s.name for s in select_suites(["ptb", "core", "core"])] == ["core"]
    assert [b.name for b in select_benchmarks(["core_piqa", "ptb"])] == ["core_piqa", "ptb"]
    assert select_suites(["core_piqa"]) == []


def test_the_settings_know_every_name() -> None:
    assert list(benchmarks.BENCHMARKS) == list(BENCHMARKS), "list them in settings/benchmarks"
    assert list(benchmarks.OTHERS) == list(OTHERS)
    assert list(benchmarks.SUITES) == list(SUITES)
    for name, members in benchmarks.SUITES.items():
        assert list(members) == [b.name for b in SUITES[name].benchmarks]


def test_help_lists_every_benchmark_and_suite_but_no_members() -> None:
    shown = help_text(COMMANDS["eval"], "tasks", "eval.py")
    assert all(f" {name}" in shown for name in (*BENCHMARKS, *OTHERS, *SUITES))
    assert "core_" not in shown
    assert benchmarks.TASKS.read("core_piqa,ptb") == ["core_piqa", "ptb"]
    with pytest.raises(ValueError, match="did you mean core_piqa"):
        benchmarks.TASKS.read("core_piqs")
