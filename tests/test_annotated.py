"""The annotated pages show the code as it is, and run."""

import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "annotated"


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(FOLDER)
    yield __import__("build")
    del sys.modules["build"]


def test_pages_are_what_their_sources_give_now(build) -> None:
    assert [name for name in build.PAGES if not build.is_current(name)] == []


@pytest.mark.slow
def test_the_translator_of_the_page_learns(build) -> None:
    """It writes most of the Roman numerals that it has not seen."""
    made = build.notebook("transformer")
    texts = [output.get("text", "") for cell in made.cells for output in cell.get("outputs", [])]
    (found,) = [text for text in texts if "it has not been trained on" in text]
    assert int(found.split()[0]) >= 180
