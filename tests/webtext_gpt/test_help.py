"""Help on a terminal of 80 columns: every line fits, and no word is broken."""

import re

import pytest

from webtext_gpt import help as helps
from webtext_gpt.commands import COMMANDS


@pytest.fixture(autouse=True)
def _width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helps, "_width", lambda: 80)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_line_fits(name: str) -> None:
    lines = helps.help_text(COMMANDS[name], "", f"webtext-gpt {name}").split("\n")
    assert max(map(len, lines)) <= 80
    assert not any(re.search(r"\w-$", line) for line in lines)
    assert "0 more keys" not in lines


def test_words_of_the_overview_are_whole() -> None:
    text = helps.overview()
    assert max(map(len, text.split("\n"))) <= 80
    assert "near-duplicates" in text
