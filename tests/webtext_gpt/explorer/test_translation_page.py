"""The view of a translation model shows the model's numbers, also by keyboard and on a phone."""

import copy
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from webtext_gpt.checkpoint.load import LoadedModel, load, save_model
from webtext_gpt.generation.alignment import alignment
from webtext_gpt.generation.translate import translate

from .conftest import Browser, serving
from .test_page import ALL, AXE, COLOURS, axe  # noqa: F401 - a fixture

SOURCE, TARGET = "the old cat sees a dog", "a small old bird"
SOURCE_CHIPS, TARGET_CHIPS = "ol.chips .chip", "[role=group].chips .chip"
RESULT, READOUT = "section [aria-live=polite]", "#panel-translation .readout"


@pytest.fixture(scope="module")
def loaded(small_translator: Path) -> LoadedModel:
    """The served model."""
    return load(small_translator)


@pytest.fixture(scope="module")
def served(small_translator: Path) -> Iterator[str]:
    """Address of the page of a translation model."""
    pytest.importorskip("uvicorn", reason="needs the extra explorer")
    from webtext_gpt.explorer.application import make_application
    from webtext_gpt.explorer.workspace import Workspace

    with serving(make_application(Workspace(str(small_translator)))) as address:
        yield address


@pytest.fixture
def page(browser: Browser, served: str) -> Browser:
    """The view with SOURCE and its translation by beam search."""
    browser.open(served)
    browser.type(SOURCE)
    return browser


def per_cents(browser: Browser, selector: str) -> list[float]:
    """Return the shares that chips show."""
    shown = browser.texts(f"{selector} .number")
    return [float(text.replace("<", "").rstrip("\xa0%")) / 100 for text in shown]


def type_target(browser: Browser, text: str) -> None:
    """Type a translation in place of the one that beam search has found."""
    browser.run(
        "const field = document.getElementById('target'); field.value = arguments[0];"
        "field.dispatchEvent(new Event('input'))",
        text,
    )
    browser.wait(lambda: browser.texts("[role=status]")[0].startswith("Typed by you"))


def expect_weights(browser: Browser, row: NDArray[np.float32]) -> None:
    """Wait until the source tokens show a row of weights, the strongest one outlined."""
    browser.wait(
        lambda: (
            len(per_cents(browser, SOURCE_CHIPS)) == len(row)
            and np.allclose(per_cents(browser, SOURCE_CHIPS), row, atol=0.00051)
        )
    )
    chips = browser.run(
        "return [...document.querySelectorAll(arguments[0])]"
        ".map((e) => e.classList.contains('strongest'))",
        SOURCE_CHIPS,
    )
    assert chips.index(True) == row.argmax()


def test_a_sentence_is_translated_by_beam_search(page: Browser, loaded: LoadedModel) -> None:
    [expected] = translate(loaded.model, loaded.tokenizer, [SOURCE])
    assert expected
    assert page.run("return document.getElementById('target').value") == expected
    assert page.texts("[role=tab]") == ["Translation"]
    assert page.texts("label[for=text]") == ["Sentence to translate"]
    facts = page.texts("#facts")[0].replace("\xa0", " ")
    assert "1 encoder layer · 2 decoder layers · 2 heads each" in facts
    ids = loaded.tokenizer.encode(expected)
    assert len(page.texts(TARGET_CHIPS)) == len(ids) + 1
    weights = alignment(loaded.model, loaded.tokenizer, SOURCE, expected)
    expect_weights(page, weights[1].mean(0)[0].numpy())  # the last layer's mean, the first token


def test_a_typed_translation_and_its_head(page: Browser, loaded: LoadedModel) -> None:
    from selenium.webdriver.support.select import Select

    type_target(page, TARGET)
    weights = alignment(loaded.model, loaded.tokenizer, SOURCE, TARGET).numpy()
    layer, head = (Select(e) for e in page.driver.find_elements("css selector", ".row select"))
    layer.select_by_visible_text("1")
    head.select_by_visible_text("2")
    expect_weights(page, weights[0, 1, 0])
    page.run("document.querySelectorAll(arguments[0])[2].focus()", TARGET_CHIPS)
    expect_weights(page, weights[0, 1, 2])
    assert ", token 3 of " in page.texts(RESULT)[0]
    assert "in layer 1, head 2: most weight on" in page.texts(RESULT)[0]
    assert page.texts(f"{TARGET_CHIPS}[aria-pressed=true]") == [page.texts(TARGET_CHIPS)[2]]

    shares = per_cents(page, TARGET_CHIPS)
    log_probability = float(
        re.search(r"is (\S+)\xa0nats", page.texts("[role=status]")[0])[1].replace("\u2212", "-")
    )
    assert log_probability == pytest.approx(np.log(shares).sum(), abs=0.05)

    page.click("#panel-translation button:not(.chip)")  # by beam search again
    page.wait(lambda: page.texts("[role=status]")[0].startswith("Found by beam search with 5"))
    [expected] = translate(loaded.model, loaded.tokenizer, [SOURCE])
    assert page.run("return document.getElementById('target').value") == expected


def test_pointer_and_arrow_keys_choose_a_token(page: Browser, loaded: LoadedModel) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    type_target(page, TARGET)
    weights = alignment(loaded.model, loaded.tokenizer, SOURCE, TARGET).numpy()[1].mean(0)
    chips = page.driver.find_elements("css selector", TARGET_CHIPS)
    ActionChains(page.driver).move_to_element(chips[1]).perform()
    expect_weights(page, weights[1])
    chips[1].send_keys(Keys.ARROW_RIGHT)
    expect_weights(page, weights[2])
    page.driver.switch_to.active_element.send_keys(Keys.END)
    expect_weights(page, weights[-1])
    stops = page.run(
        "return [...document.querySelectorAll(arguments[0])].map((e) => e.tabIndex)", TARGET_CHIPS
    )
    assert stops == [-1] * (len(stops) - 1) + [0]


def test_cells_of_the_matrix_by_keyboard(page: Browser, loaded: LoadedModel) -> None:
    from selenium.webdriver.common.keys import Keys

    type_target(page, TARGET)
    weights = alignment(loaded.model, loaded.tokenizer, SOURCE, TARGET).numpy()[1].mean(0)

    def read() -> float:
        return float(page.texts(READOUT)[0].rpartition(": ")[2].lstrip("<").rstrip("\xa0%")) / 100

    matrix = page.driver.find_element("css selector", "svg.alignment")
    matrix.send_keys(Keys.ARROW_DOWN)
    matrix.send_keys(Keys.ARROW_RIGHT)
    matrix.send_keys(Keys.ARROW_RIGHT)
    assert read() == pytest.approx(weights[1, 2], abs=0.00051)
    matrix.send_keys(Keys.END)
    assert read() == pytest.approx(weights[1, -1], abs=0.00051)
    matrix.send_keys(Keys.ENTER)
    expect_weights(page, weights[1])
    page.run("document.activeElement.blur()")
    assert page.texts(READOUT)[0].startswith("Point at a cell")


def test_settings_of_the_search(page: Browser, loaded: LoadedModel) -> None:
    from selenium.webdriver.common.keys import Keys

    page.driver.find_element("id", "num-beams").send_keys(Keys.HOME)
    page.wait(lambda: page.texts("[role=status]")[0].startswith("Found by greedy search"))
    [greedy] = translate(loaded.model, loaded.tokenizer, [SOURCE], num_beams=1)
    assert page.run("return document.getElementById('target').value") == greedy
    page.driver.find_element("id", "length-penalty").send_keys(Keys.HOME)
    page.wait(lambda: "With the length penalty 0 its" in page.texts("[role=status]")[0])
    numbers = re.findall(r"is (\u2212[\d.]+)", page.texts("[role=status]")[0])
    assert numbers[0] == numbers[1].rstrip(".")  # without a penalty, the score is ln p


def test_an_empty_sentence_and_one_that_is_too_long(page: Browser) -> None:
    page.type(" ")
    assert page.texts("#panel-translation > p.muted")[0].startswith("There is no sentence yet")
    assert not page.driver.find_element("css selector", TARGET_CHIPS).is_displayed()
    page.type("cat " * 40)
    page.wait(lambda: "context of 24; shorten it" in page.texts("#error")[0])
    page.type(SOURCE)
    assert page.run("return document.getElementById('error').hidden")


@pytest.mark.parametrize(
    ("scheme", "rules"), [("light", ALL), pytest.param("dark", COLOURS, marks=pytest.mark.slow)]
)
def test_no_serious_finding_of_axe(
    page: Browser,
    axe: str,  # noqa: F811 - the fixture
    scheme: str,
    rules: dict[str, Any],
) -> None:
    page.prefer(scheme)
    page.run(axe)
    found = page.driver.execute_async_script(AXE, {"resultTypes": ["violations"], **rules})
    assert [each for each in found if each[0] in ("serious", "critical")] == []


def test_no_request_elsewhere_and_no_console_error(page: Browser, served: str) -> None:
    assert page.problems() == []
    ours = (f"{served}/", "data:", "blob:", "about:")
    assert [address for address in page.requests() if not address.startswith(ours)] == []


@pytest.mark.parametrize("width", [390, pytest.param(1280, marks=pytest.mark.slow)])
def test_page_does_not_scroll_sideways(page: Browser, width: int) -> None:
    page.size(width)
    type_target(page, "the " * 15 + "c" * 7)
    assert page.run("return document.documentElement.scrollWidth - innerWidth") <= 0


@pytest.mark.slow
def test_two_checkpoints_translate_the_same_sentence(
    browser: Browser,
    loaded: LoadedModel,
    axe: str,  # noqa: F811 - the fixture
    tmp_path: Path,
) -> None:
    """The earlier one's weights are smaller, so that it translates otherwise."""
    from webtext_gpt.explorer.application import make_application
    from webtext_gpt.explorer.workspace import Workspace

    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    expected = {}
    for step, factor in ((2, 0.7), (4, 1.0)):
        model = copy.deepcopy(loaded.model)
        for parameter in model.parameters():
            parameter.data.mul_(factor)
        [expected[step]] = translate(model, loaded.tokenizer, [SOURCE])
        save_model(model, loaded.tokenizer, folder / f"step-{step:08d}.ckpt")
    assert expected[2] != expected[4]
    (folder / "last.ckpt").symlink_to("step-00000004.ckpt")
    (folder.parent / "metrics.csv").write_text("step,train_loss,val_loss\n2,5.2,5.3\n4,4.7,4.8\n")
    (folder.parent / "summary.json").write_text("{}")
    browser.size(390)
    with serving(make_application(Workspace(str(folder.parent)))) as address:
        browser.open(f"{address}/#learning")
        browser.type(SOURCE)
        assert browser.texts("[role=tab]") == ["Translation", "Learning"]
        assert browser.texts(".sides section h3") == ["step 2", "step 4 (last)"]
        assert browser.texts(".sides section p.mono") == [expected[2], expected[4]]
        for index, step in enumerate((2, 4)):
            n_tokens = len(loaded.tokenizer.encode(expected[step])) + 1
            chips = browser.run(
                "return document.querySelectorAll('.sides section')[arguments[0]]"
                ".querySelectorAll('.chip').length",
                index,
            )
            assert chips == n_tokens
        assert "last validation loss 4.800" in browser.texts("#panel-learning [role=status]")[0]
        assert browser.run("return document.documentElement.scrollWidth - innerWidth") <= 0
        assert browser.problems() == []
        browser.run(axe)
        found = browser.driver.execute_async_script(AXE, {"resultTypes": ["violations"], **ALL})
        assert [each for each in found if each[0] in ("serious", "critical")] == []
        browser.driver.get("about:blank")


def test_labels_of_the_alignment_are_whole_and_beside_its_titles(page: Browser) -> None:
    """Both sides end in the longest label, the end of text."""
    ticks = page.texts("svg.alignment .tick")
    assert ticks.count("⟨end of text⟩") == 2
    is_apart = page.run(
        "const box = (node) => node.getBoundingClientRect();"
        "const all = (name) => [...document.querySelectorAll(`svg.alignment ${name}`)].map(box);"
        "return all('.tick').every((tick) => all('.title').every((title) =>"
        " tick.right <= title.left || title.right <= tick.left ||"
        " tick.bottom <= title.top || title.bottom <= tick.top))"
    )
    assert is_apart


def test_the_alignment_is_kept_as_a_picture(
    page: Browser, loaded: LoadedModel, tmp_path: Path
) -> None:
    page.driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    type_target(page, TARGET)
    page.click(".save", 0)
    page.wait((tmp_path / "alignment.svg").is_file)
    drawn = ET.parse(tmp_path / "alignment.svg").getroot()
    texts = [e.text for e in drawn.iter() if e.tag.endswith("}text")]
    tokens = [
        *loaded.tokenizer.encode(SOURCE),
        loaded.tokenizer.end_of_text,
        *loaded.tokenizer.encode(TARGET),
        loaded.tokenizer.end_of_text,
    ]
    assert len(texts) == len(tokens) + 2  # the names of both sides
    assert {"sentence", "translation"} < set(texts)
    assert "var(" not in (tmp_path / "alignment.svg").read_text()
