"""The views of learning and of classifiers show the numbers of the models behind them."""

import os
import re
import shutil
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from webtext_gpt.checkpoint.load import load, load_language_model, save_model
from webtext_gpt.finetuning.model import add_head
from webtext_gpt.finetuning.predict import TextClassifier

from .conftest import Browser, serving
from .test_page import AXE, axe  # noqa: F401 - a fixture

TEXT = "the old cat sees"
MINUS, NONE = "\u2212", "\u2013"
"""The page's minus sign, and its sign for no number."""
METRICS = "step,train_loss,val_loss\n1,5.5,\n2,5.2,5.3\n3,4.9,\n4,4.7,4.8\n5,4.6,\n6,4.5,4.6\n"


@pytest.fixture(scope="module")
def run(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with checkpoints of steps 2, 4 and 6, whose weights grow."""
    folder = tmp_path_factory.mktemp("learning") / "run"
    (folder / "checkpoints").mkdir(parents=True)
    for step, factor in ((2, 0.25), (4, 0.5), (6, 1.0)):
        model, tokenizer = load_language_model(small_checkpoint)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(factor)
        save_model(model, tokenizer, folder / "checkpoints" / f"step-{step:08d}.ckpt")
    (folder / "checkpoints" / "last.ckpt").symlink_to("step-00000006.ckpt")
    (folder / "metrics.csv").write_text(METRICS)
    (folder / "summary.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def run_served(run: Path) -> Iterator[str]:
    """Address of the run's page."""
    yield from _served(run)


@pytest.fixture(scope="module")
def classifier(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of pairs, read in both orders."""
    body, tokenizer = load_language_model(small_checkpoint)
    torch.manual_seed(0)
    labels = ("no", "yes", "<b>maybe</b>")
    model, tokenizer = add_head(body, tokenizer, labels, pairs=True, both_orders=True, dropout=0.1)
    torch.nn.init.normal_(model.head.weight, std=0.5)
    path = tmp_path_factory.mktemp("pairs") / "pairs.ckpt"
    save_model(model, tokenizer, path)
    return path


@pytest.fixture(scope="module")
def classifier_served(classifier: Path) -> Iterator[str]:
    """Address of the classifier's page."""
    yield from _served(classifier)


def _served(checkpoint: Path) -> Iterator[str]:
    pytest.importorskip("uvicorn", reason="needs the extra explorer")
    from webtext_gpt.explorer.application import make_application
    from webtext_gpt.explorer.workspace import Workspace

    with serving(make_application(Workspace(str(checkpoint)))) as address:
        yield address


def _numbers(texts: list[str]) -> list[float]:
    """Return the number in each text that has one."""
    found = [re.search(rf"{MINUS}?\d+(\.\d+)?", text) for text in texts]
    return [float(match[0].replace(MINUS, "-")) for match in found if match]


def _open(browser: Browser, address: str, text: str = TEXT) -> None:
    browser.open(address)
    browser.type(text)


def _likeliest(run: Path, step: int) -> list[float]:
    model, tokenizer = load_language_model(run / "checkpoints" / f"step-{step:08d}.ckpt")
    with torch.no_grad():
        logits = model(torch.tensor([tokenizer.encode(TEXT)]))[0, -1]
    return (100 * logits.softmax(dim=0)).sort(descending=True).values[:10].tolist()


def _side(browser: Browser, side: str) -> list[float]:
    return _numbers(browser.texts(f".sides section.{side} .number"))


def test_next_words_of_two_checkpoints(browser: Browser, run_served: str, run: Path) -> None:
    """Both begin at their ends: the first and the last checkpoint. Arrow keys move the sliders."""
    from selenium.webdriver.common.keys import Keys

    _open(browser, f"{run_served}/#learning")
    assert _side(browser, "left") == pytest.approx(_likeliest(run, 2), abs=0.05)
    assert _side(browser, "right") == pytest.approx(_likeliest(run, 6), abs=0.05)
    browser.driver.find_element("id", "learning-right").send_keys(Keys.ARROW_LEFT)
    expected = pytest.approx(_likeliest(run, 4), abs=0.05)
    browser.wait(lambda: _side(browser, "right") == expected)
    assert browser.texts("output[for=learning-right]") == ["step 4"]
    assert browser.run("return document.getElementById('checkpoint').value") == "step-00000004"
    browser.driver.find_element("id", "learning-left").send_keys(Keys.ARROW_RIGHT)
    browser.wait(lambda: _side(browser, "left") == expected)
    assert _side(browser, "right") == expected


def test_surprise_and_one_heads_row_of_two_checkpoints(
    browser: Browser, run_served: str, run: Path
) -> None:
    _open(browser, f"{run_served}/#learning")
    _choose(browser, "learning-head", "1")
    for side, step in (("left", 2), ("right", 6)):
        model, tokenizer = load_language_model(run / "checkpoints" / f"step-{step:08d}.ckpt")
        ids = torch.tensor(tokenizer.encode(TEXT))
        with torch.no_grad():
            bits = -model(ids[None])[0].log_softmax(dim=1) / torch.log(torch.tensor(2.0))
            block = model.blocks[0]
            x = block.ln_1(model.wte(ids) + model.wpe.weight[: len(ids)])
            q, k, _ = block.attn.c_attn(x).split(32, dim=1)
            row = (k[:, 16:] @ q[-1, 16:] / 16**0.5).softmax(dim=0)  # the second of two heads
        cells = browser.texts(f".duo .{side}")
        surprises = cells[: len(ids)]
        assert surprises[0].endswith(NONE)
        expected = bits[torch.arange(len(ids) - 1), ids[1:]].tolist()
        assert _numbers(surprises[1:]) == pytest.approx(expected, abs=0.005)
        shown = pytest.approx((100 * row).tolist(), abs=0.06)
        n = len(ids)
        browser.wait(
            lambda side=side, shown=shown, n=n: (
                _numbers(browser.texts(f".duo .{side}")[n:]) == shown
            )
        )


def test_curve_marks_the_checkpoints(browser: Browser, run_served: str) -> None:
    _open(browser, f"{run_served}/#learning")
    circles = "svg[aria-label^='Loss by step'] circle"
    assert len(browser.texts(circles)) == 3 + 2
    at = "return [...document.querySelectorAll(arguments[0])].map((e) => Number(e.getAttribute("
    xs = browser.run(f"{at}'cx')))", circles)
    assert xs[3:] == [xs[0], xs[2]]  # the chosen ones, drawn last
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1])  # steps 2, 4 and 6
    ys = browser.run(f"{at}'cy')))", circles)
    assert (ys[1] - ys[0]) / (ys[2] - ys[1]) == pytest.approx((5.3 - 4.8) / (4.8 - 4.6))
    rows = browser.texts("table tbody td")
    assert [r for r in rows if r in ("5.300", "4.800", "4.600")] == ["5.300", "4.800", "4.600"]
    assert any("Training has ended at step 6" in text for text in browser.texts("p"))


@pytest.mark.slow
def test_curve_follows_a_run_until_it_ends(browser: Browser, run_served: str, run: Path) -> None:
    """Nothing is asked while another view is shown, nor once the run has finished."""
    metrics, summary = run / "metrics.csv", run / "summary.json"

    def asked() -> int:
        return sum(address.endswith("api/curve") for address in browser.requests())

    try:
        hour_ago = time.time() - 3600
        os.utime(summary, (hour_ago, hour_ago))
        metrics.write_text(METRICS)
        _open(browser, f"{run_served}/#learning")
        assert any("step 6; read again" in text for text in browser.texts("p"))
        with metrics.open("a") as stream:
            stream.write("7,4.4,4.5\n")
        browser.wait(lambda: any("step 7; read again" in t for t in browser.texts("p")))
        browser.click("#tab-next")
        asked()
        time.sleep(3.5)
        assert asked() == 0
        browser.click("#tab-learning")
        browser.wait(lambda: asked() > 0)
        summary.write_text("{}")
        browser.wait(lambda: any("ended at step 7" in text for text in browser.texts("p")))
        asked()
        time.sleep(3.5)
        assert asked() == 0
    finally:
        metrics.write_text(METRICS)
        summary.write_text("{}")


def test_one_checkpoint_has_no_view_of_learning(browser: Browser, served: str) -> None:
    browser.open(served)
    assert "Learning" not in browser.texts("[role=tab]")
    assert "Classifier" not in browser.texts("[role=tab]")


def _choose(browser: Browser, list_id: str, value: str) -> None:
    browser.run(
        "const list = document.getElementById(arguments[0]); list.value = arguments[1];"
        "list.dispatchEvent(new Event('change'))",
        list_id,
        value,
    )


def _second(browser: Browser, text: str) -> None:
    browser.run(
        "const field = document.getElementById('second'); field.value = arguments[0];"
        "field.dispatchEvent(new Event('input'))",
        text,
    )


def _ready(browser: Browser, start: str) -> str:
    """Return the line of sums as soon as it begins with `start`."""
    browser.wait(lambda: browser.texts(".sums")[0].startswith(start))
    return browser.texts(".sums")[0]


def test_labels_and_tokens_that_decided(
    browser: Browser, classifier_served: str, classifier: Path
) -> None:
    loaded = load(classifier)
    predictor = TextClassifier(loaded.model, loaded.tokenizer)
    _open(browser, f"{classifier_served}/#classifier")
    _second(browser, "a dog")
    logits = predictor.logits([TEXT], ["a dog"])[0]
    expected = pytest.approx((100 * logits.softmax(dim=0)).tolist(), abs=0.06)
    values = "#panel-classifier svg .value-label"
    browser.wait(lambda: _numbers(browser.texts(values)) == expected)
    labels = ["no", "yes", "<b>maybe</b>"]
    assert browser.texts("#panel-classifier svg .token-label") == labels
    sums = _ready(browser, f"Logit of {labels[int(logits.argmax())]}")
    ids = [*loaded.tokenizer.encode(TEXT), *loaded.tokenizer.encode("a dog")]
    browser.wait(lambda: len(browser.texts(".decided li")) == len(ids) + 3)
    chips = _numbers(browser.texts(".decided .chip-bits"))
    total, difference = _numbers(browser.texts(".sums")[0].split(":")[1].split(";"))
    assert sum(chips) == pytest.approx(total, abs=0.0005 * len(chips) + 0.0005)
    assert total == pytest.approx(difference, abs=0.01 * abs(difference) + 0.001)
    _choose(browser, "explained", "no")
    assert _ready(browser, "Logit of no:") != sums
    assert browser.run("return document.querySelector('.panel b')") is None


def test_an_empty_box_and_the_tokens_around_texts_are_explained(
    browser: Browser, classifier_served: str
) -> None:
    browser.open(f"{classifier_served}/#classifier")
    value, hint = browser.run(
        "const t = document.getElementById('text'); return [t.value, t.placeholder]"
    )
    assert (value, hint) == ("", "Nothing: below is the classifier's answer without a text")
    assert browser.texts("#added") == [
        "The classifier adds tokens of its own: ⟨end of text⟩ before the text, ⟨delimiter⟩ between "
        "the two texts, ⟨extract⟩ at the end, where its head reads the answer."
    ]
    browser.wait(lambda: len(browser.texts(".decided li")) == 3)
    names = ["⟨end of text⟩", "⟨delimiter⟩", "⟨extract⟩"]
    assert browser.texts(".decided .token") == names
    browser.click("#tab-tokens")
    assert not any("∅" in text for text in browser.texts("#panel-tokens"))


@pytest.fixture(scope="module")
def classifier_run(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished fine-tuning run with checkpoints of steps 2 and 6, whose heads differ."""
    folder = tmp_path_factory.mktemp("classes") / "run"
    (folder / "checkpoints").mkdir(parents=True)
    for step, std in ((2, 0.1), (6, 1.0)):
        body, tokenizer = load_language_model(small_checkpoint)
        torch.manual_seed(step)
        model, tokenizer = add_head(
            body, tokenizer, ("no", "yes"), pairs=False, both_orders=False, dropout=0.1
        )
        torch.nn.init.normal_(model.head.weight, std=std)
        save_model(model, tokenizer, folder / "checkpoints" / f"step-{step:08d}.ckpt")
    (folder / "metrics.csv").write_text(METRICS)
    (folder / "summary.json").write_text("{}")
    return folder


def test_learning_of_a_classifier_shows_labels_and_losses_per_row(
    browser: Browser, classifier_run: Path
) -> None:
    for address in _served(classifier_run):
        _open(browser, f"{address}/#learning")
        for side, step in (("left", 2), ("right", 6)):
            loaded = load(classifier_run / "checkpoints" / f"step-{step:08d}.ckpt")
            logits = TextClassifier(loaded.model, loaded.tokenizer).logits([TEXT])[0]
            shown = _numbers(browser.texts(f".sides section.{side} .value-label"))
            assert shown == pytest.approx((100 * logits.softmax(dim=0)).tolist(), abs=0.06)
        text = " ".join(browser.texts("#panel-learning"))
        assert "last validation loss 4.600 (nats per row)" in text
        assert "per token" not in text
        assert "Training loss may have terms besides" in text
        browser.driver.get("about:blank")


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
@pytest.mark.parametrize("view", ["learning", "classifier"])
def test_views_are_accessible_narrow_and_quiet(
    browser: Browser,
    run_served: str,
    classifier_served: str,
    axe: str,  # noqa: F811
    scheme: str,
    view: str,
) -> None:
    browser.prefer(scheme)
    browser.size(390)
    address = run_served if view == "learning" else classifier_served
    _open(browser, f"{address}/#{view}", "the old cat sees " + "a" * 60)
    browser.run("document.querySelectorAll('details').forEach((e) => { e.open = true })")
    if view == "classifier":
        browser.wait(lambda: browser.texts(".decided li"))
    assert browser.run("return document.documentElement.scrollWidth - innerWidth") <= 0
    browser.run(axe)
    found = browser.driver.execute_async_script(AXE, {"resultTypes": ["violations"]})
    assert [each for each in found if each[0] in ("serious", "critical")] == []
    assert browser.problems() == []


@pytest.mark.parametrize("view", ["learning", "classifier"])
def test_pictures_are_drawn(
    browser: Browser, run_served: str, classifier_served: str, view: str, tmp_path: Path
) -> None:
    browser.driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    names, address = {
        "learning": (
            ["learning-next-words", "learning-one-head", "learning-surprise", "loss"],
            run_served,
        ),
        "classifier": (["labels", "tokens-that-decided"], classifier_served),
    }[view]
    _open(browser, f"{address}/#{view}")
    if view == "classifier":
        browser.wait(lambda: browser.texts(".decided li"))
    for index in range(2 * len(names)):
        browser.click(".panel:not([hidden]) .save", index)
    files = sorted(f"{name}.{ending}" for name in names for ending in ("png", "svg"))
    browser.wait(lambda: sorted(path.name for path in tmp_path.iterdir()) == files)
    for name in names:
        drawn = (tmp_path / f"{name}.svg").read_text()
        assert "var(" not in drawn
        assert "color(" not in drawn  # few programs know CSS colours of level 4
        texts = [e.text for e in ET.fromstring(drawn).iter() if e.tag.endswith("}text")]
        assert len(texts) >= 3


@pytest.mark.slow
def test_the_list_of_checkpoints_grows_while_the_run_trains(
    browser: Browser, run: Path, tmp_path: Path
) -> None:
    """Also where one checkpoint hid the list, and where the run has removed the one shown."""
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "metrics.csv").write_text(METRICS)  # and no summary.json: it is running
    names = [f"step-{step:08d}.ckpt" for step in (2, 4, 6)]
    shutil.copy(run / "checkpoints" / names[0], folder / "checkpoints")
    options = "#checkpoint option"
    for address in _served(folder):
        browser.open(f"{address}/#next")
        assert browser.texts(options) == ["step 2"]
        assert browser.run("return document.getElementById('checkpoints').hidden")
        for name in names[1:]:
            shutil.copy(run / "checkpoints" / name, folder / "checkpoints")
        browser.run("document.dispatchEvent(new Event('visibilitychange'))")
        browser.wait(lambda: browser.texts(options) == ["step 2", "step 4", "step 6"])
        assert not browser.run("return document.getElementById('checkpoints').hidden")
        assert browser.run("return document.getElementById('checkpoint').value") == names[0][:-5]
        (folder / "checkpoints" / names[0]).unlink()
        (folder / "checkpoints" / names[1]).rename(folder / "checkpoints" / "step-00000005.ckpt")
        browser.run("document.dispatchEvent(new Event('visibilitychange'))")
        browser.wait(lambda: browser.texts(options) == ["step 5", "step 6"])
        assert browser.run("return document.getElementById('checkpoint').value") == names[2][:-5]
        browser.driver.get("about:blank")
