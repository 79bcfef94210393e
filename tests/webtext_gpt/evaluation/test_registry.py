"""Benchmarks selected by name, and the names that the settings accept."""

import pytest

from webtext_gpt.commands import COMMANDS
from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.registry import BENCHMARKS, select_benchmarks
from webtext_gpt.help import help_text
from webtext_gpt.settings import inference


def test_tasks_are_selected_by_name() -> None:
    assert [b.name for b in select_benchmarks("all")] == list(BENCHMARKS)
    assert [b.name for b in select_benchmarks(["ptb", "lambada", "ptb"])] == ["ptb", "lambada"]
    for names in (["lambda"], []):
        with pytest.raises(UserError, match="tasks: all, lambada, cbt_cn"):
            select_benchmarks(names)
    assert len(select_benchmarks(["ptb", "all"])) == len(BENCHMARKS)


def test_help_lists_every_benchmark() -> None:
    assert list(inference.BENCHMARKS) == list(BENCHMARKS), "list these names in settings/inference"
    shown = help_text(COMMANDS["eval"], "tasks", "eval.py")
    assert all(f" {name}" in shown for name in BENCHMARKS)
