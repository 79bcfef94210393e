"""The annotated pages show the code as it is, and what they claim is measured when they run."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "annotated"
NAMES = ("gpt2", "classifier", "transformer")


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(FOLDER)
    yield __import__("build")
    del sys.modules["build"]


def outputs(build: ModuleType, name: str) -> str:
    """Return everything that a page prints when it is run from top to bottom."""
    made = build.notebook(name)
    return "".join(
        output.get("text", "") for cell in made.cells for output in cell.get("outputs", [])
    )


def found(pattern: str, text: str) -> list[float]:
    """Return the numbers in the groups of the only match."""
    (match,) = re.finditer(pattern, text)
    return [float(number) for number in match.groups()]


def test_every_script_is_a_page(build) -> None:
    scripts = {path.stem for path in FOLDER.glob("*.py") if "# %%" in path.read_text()}
    assert set(build.PAGES) == scripts == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_what_its_source_gives_now(build, name: str) -> None:
    assert build.is_current(name)


@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_small_and_described(build, name: str) -> None:
    text = build.page(name).read_text(encoding="utf-8")
    pictures = re.findall(r"!\[(.*?)\]\((.*?)\)", text)
    assert len(pictures) == {"gpt2": 2, "classifier": 1, "transformer": 0}[name]
    for described, path in pictures:
        assert len(described) > 40
        assert (build.OUT / path).stat().st_size < 60_000


def test_an_excerpt_that_the_source_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    show = __import__("showing").show

    def doubled(x: int) -> int:
        """Return twice a number."""
        y = 2 * x
        return y  # noqa: RET504

    assert "doubled` in `" in show(doubled).data
    assert "Return twice" not in show(doubled).data
    assert show(doubled, "y = 2", "y = 2").data.endswith("```python\ny = 2 * x\n```")
    with pytest.raises(ValueError, match="no line with 'y = 3'"):
        show(doubled, "y = 3")


@pytest.mark.slow
def test_the_language_model_of_the_page_learns_all_that_there_is(build) -> None:
    """The least possible loss of an unseen story is 3 ln 12 / 12 = 0.621 nats a token."""
    text = outputs(build, "gpt2")
    (start,) = found(r"step   0: training [\d.]+, unseen stories ([\d.]+) nats", text)
    (end,) = found(r"step 299: training [\d.]+, unseen stories ([\d.]+) nats", text)
    assert start == pytest.approx(5.93, abs=0.4)  # ln 377
    assert 0.615 <= end <= 0.70
    right, n = found(r"(\d+) of (\d+) questions about unseen stories are answered correctly", text)
    assert n == 200
    assert right >= 190
    assert "within 1e-4: True" in text


@pytest.mark.slow
def test_the_classifier_of_the_page_knows_words_without_labels(build) -> None:
    """Without pretraining, nothing distinguishes these words, and accuracy stays near one half."""
    text = outputs(build, "classifier")
    for name in (r"\npretrained", "pretrained, labels only"):
        test, training = found(rf"{name}: +(\d+)% of the test, +(\d+)% of the training", text)
        assert test >= 95
        assert training >= 95
    test, training = found(r"not pretrained: +(\d+)% of the test, +(\d+)% of the training", text)
    assert test <= 75
    assert training >= 95
    assert "praise (" in text
    assert "blame (" in text


@pytest.mark.slow
def test_the_translator_of_the_page_learns(build) -> None:
    """It writes most of the Roman numerals that it has not seen."""
    text = outputs(build, "transformer")
    (right,) = found(r"(\d+) of 200 numbers that it has not been trained on", text)
    assert right >= 180
