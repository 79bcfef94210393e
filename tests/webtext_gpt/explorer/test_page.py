"""The page as a whole: accessible, narrow, quiet, harmless, with pictures to save."""

import importlib.util
import re
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from .conftest import Browser, serving

SVG = "{http://www.w3.org/2000/svg}"
PNG = b"\x89PNG\r\n\x1a\n"
FRONTS = ("text", "muted", "accent", "chosen", "error")
HOSTILE = "<img src=x onerror='window.harmed=1'><script>window.harmed=1</script>"


def views(browser: Browser, address: str) -> Iterator[str]:
    """Open each view in turn; yields its id."""
    browser.open(address)
    for tab in browser.run("return [...document.querySelectorAll('[role=tab]')].map((e) => e.id)"):
        browser.open(f"{address}/#{tab.removeprefix('tab-')}")
        yield tab.removeprefix("tab-")


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core, which finds what people with disabilities cannot use."""
    found = importlib.util.find_spec("axe_core_python")
    if found is None or not found.submodule_search_locations:
        pytest.skip("needs axe-core-python, of the extra dev")
    return (Path(found.submodule_search_locations[0]) / "axe.min.js").read_text()


AXE = (
    "const done = arguments[1]; axe.run(arguments[0]).then((result) => "
    "done(result.violations.map(({id, impact, nodes}) => "
    "[impact, id, nodes.map((e) => e.html).slice(0, 3)])))"
)
ALL: dict[str, Any] = {"rules": {"label-content-name-mismatch": {"enabled": True}}}
COLOURS: dict[str, Any] = {"runOnly": ["color-contrast"]}


@pytest.mark.parametrize(
    ("scheme", "rules"), [("light", ALL), pytest.param("dark", COLOURS, marks=pytest.mark.slow)]
)
def test_no_serious_finding_of_axe(
    browser: Browser, served: str, axe: str, scheme: str, rules: dict[str, Any]
) -> None:
    browser.prefer(scheme)
    for view in views(browser, served):
        browser.run("document.querySelectorAll('details').forEach((e) => { e.open = true })")
        browser.run(axe)
        found = browser.driver.execute_async_script(AXE, {"resultTypes": ["violations"], **rules})
        assert [each for each in found if each[0] in ("serious", "critical")] == [], view


def test_axe_finds_what_is_wrong(browser: Browser, served: str, axe: str) -> None:
    browser.open(served)
    browser.run(
        "document.getElementById('theme').ariaLabel = '';"
        "document.getElementById('theme').textContent = '';"
        "document.getElementById('facts').style.color = 'var(--line)';" + axe
    )
    found = browser.driver.execute_async_script(AXE, {"runOnly": ["button-name", "color-contrast"]})
    assert {(impact, rule) for impact, rule, _ in found} == {
        ("critical", "button-name"),
        ("serious", "color-contrast"),
    }


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb` (WCAG 2.2)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [":root", ':root[data-theme="dark"]'])
def test_text_has_contrast_on_every_step_of_the_scale(theme: str) -> None:
    style = (files("webtext_gpt") / "explorer/static/style.css").read_text()
    rule = style[style.index(f"{theme} {{") :].partition("}")[0]
    colours = dict(re.findall(r"--([\w-]+): (#\w{6});", rule))
    pairs = [(f"scale-{i}", f"on-scale-{i}") for i in range(10)]
    pairs += [(ground, front) for ground in ("background", "surface") for front in FRONTS]
    assert min(contrast(colours[a], colours[b]) for a, b in pairs) >= 4.5  # WCAG AA
    steps = [luminance(colours[f"scale-{i}"]) for i in range(10)]
    assert steps == sorted(steps, reverse=theme == ":root")  # little to much, in one direction


def test_no_request_elsewhere_and_no_console_error(browser: Browser, served: str) -> None:
    asked = []
    for view in views(browser, served):
        browser.type("the old cat")
        assert browser.problems() == [], view
        asked += browser.requests()
    assert f"{served}/static/main.js" in asked
    ours = (f"{served}/", "data:", "blob:", "about:")
    assert [address for address in asked if not address.startswith(ours)] == []


@pytest.mark.parametrize("width", [390, pytest.param(1280, marks=pytest.mark.slow)])
def test_page_does_not_scroll_sideways(browser: Browser, served: str, width: int) -> None:
    browser.size(width)
    for view in views(browser, served):
        browser.type("the old cat sees " + "a" * 300 + "☃" * 20)
        browser.run("document.querySelectorAll('details').forEach((e) => { e.open = true })")
        over = browser.run("return document.documentElement.scrollWidth - innerWidth")
        assert over <= 0, view


def test_tabs_by_keyboard(browser: Browser, served: str) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.open(f"{served}/#next")
    browser.driver.find_element("id", "tab-next").send_keys(Keys.ARROW_RIGHT, Keys.ENTER)
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    browser.settle()
    selected = browser.run("return document.querySelector('[aria-selected=true]').id")
    assert selected == browser.run("return document.querySelectorAll('[role=tab]')[1].id")
    shown = browser.run("return document.querySelector('[role=tabpanel]:not([hidden])').id")
    assert shown == selected.replace("tab-", "panel-")


def test_theme_follows_the_system_until_it_is_chosen(browser: Browser, served: str) -> None:
    def background() -> str:
        return browser.run("return getComputedStyle(document.body).backgroundColor")

    browser.open(served)
    light = background()
    browser.prefer("dark")
    browser.wait(lambda: background() != light)
    dark = background()
    browser.click("#theme")
    assert background() == light
    browser.open(served)  # the choice is kept
    assert background() == light
    browser.click("#theme")
    assert background() == dark


def test_first_visit_has_an_introduction(browser: Browser, served: str) -> None:
    browser.open(served)
    assert browser.run("return !document.getElementById('welcome').hidden")
    assert browser.run("return document.getElementById('text').value") != ""
    share = browser.texts(".next-bars .number")[0]
    assert share in browser.texts("#worked")[0]
    browser.click("#understood")
    browser.open(served)
    assert browser.run("return document.getElementById('welcome').hidden")
    browser.click("#help")
    assert browser.run("return !document.getElementById('welcome').hidden")


@pytest.mark.parametrize("view", ["next", "tokens"])
@pytest.mark.slow
def test_pictures_look_the_same_elsewhere(
    browser: Browser, served: str, view: str, tmp_path: Path
) -> None:
    browser.driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    browser.open(f"{served}/#{view}")
    browser.type("the old cat\nsees")
    for index in range(len(browser.texts(".panel:not([hidden]) .save"))):
        browser.click(".panel:not([hidden]) .save", index)
    n = len(browser.texts(".panel:not([hidden]) .save"))
    browser.wait(lambda: len([p for p in tmp_path.iterdir() if p.suffix in (".svg", ".png")]) == n)
    for path in tmp_path.glob("*.svg"):
        root = ET.parse(path).getroot()
        assert "var(" not in path.read_text()
        texts = list(root.iter(f"{SVG}text"))
        assert texts
        assert all(text.get("fill", "").startswith("rgb") for text in texts)
    assert all(path.read_bytes().startswith(PNG) for path in tmp_path.glob("*.png"))
    assert len(list(tmp_path.glob("*.png"))) == n / 2


def hostile_application() -> Any:
    """The page, without its security policy, whose every text from the server is hostile."""
    from starlette.applications import Starlette
    from starlette.responses import FileResponse, JSONResponse
    from starlette.routing import Mount, Route
    from starlette.staticfiles import StaticFiles

    from webtext_gpt.explorer.application import STATIC

    token = {"id": 7, "text": HOSTILE, "bytes": list(HOSTILE.encode())}
    leaf = {**token, "probability": 0.5, "joint": 0.5, "children": []}
    answers: dict[str, Any] = {
        "model": {
            "name": HOSTILE,
            "kind": "language_model",
            "checkpoints": [
                {"id": name, "label": HOSTILE, "step": None} for name in ("a", "default")
            ],
            "default": "default",
            "config": {
                "n_layer": 1,
                "n_head": 1,
                "n_embd": 4,
                "block_size": 8,
                "vocab_size": 9,
            },
            "parameters": 10,
            "labels": None,
            "takes_pairs": False,
            "example": HOSTILE,
            "has_curve": False,
            "views": ["next", "tree", "tokens"],
        },
        "next": {
            "tokens": [{**token, "probability": 0.5, "rank": 1}],
            "n_tokens": 3,
            "n_cut": 0,
        },
        "tree": {"children": [{**leaf, "children": [leaf]}]},
        "tokens": {
            "tokens": [{**token, "surprise": None}, {**token, "surprise": 3.0}],
            "bits": 3.0,
            "bytes": 9,
            "bits_per_byte": 1 / 3,
            "n_cut": 0,
        },
    }

    async def answer(request: Any) -> JSONResponse:
        if "fail" in request.query_params:
            return JSONResponse({"error": HOSTILE}, 400)
        return JSONResponse(answers[request.path_params["name"]])

    async def page(request: Any) -> FileResponse:
        return FileResponse(STATIC / "index.html")

    return Starlette(
        routes=[
            Route("/", page),
            Route("/api/{name}", answer, methods=["GET", "POST"]),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]
    )


def test_script_in_a_token_is_only_text(browser: Browser) -> None:
    pytest.importorskip("uvicorn", reason="needs the extra explorer")
    with serving(hostile_application()) as address:
        for view in ("next", "tokens"):
            browser.open(f"{address}/#{view}")
            browser.run("document.querySelectorAll('details').forEach((e) => { e.open = true })")
            browser.run(
                "for (const e of document.querySelectorAll('.chip, .next-bars button')) e.focus()"
            )
            selector = ".next-bars .token" if view == "next" else ".chip .token"
            assert browser.texts(selector)[0].replace("·", " ") == HOSTILE
            assert browser.texts("option")[0] == HOSTILE
            assert browser.run("return document.querySelector('img, main script')") is None
        time.sleep(0.2)  # an image that does not load fails a little later
        assert browser.run("return window.harmed") is None
        browser.driver.get("about:blank")  # no connection stays open


def test_error_of_the_server_is_shown(browser: Browser, served: str) -> None:
    browser.open(served)
    browser.type("a" * 100_001)
    browser.wait(lambda: "text" in (browser.texts("#error") or [""])[0])
    assert not browser.run("return document.getElementById('error').hidden")
    browser.type("a cat")
    assert browser.run("return document.getElementById('error').hidden")


def test_server_that_has_gone_is_named(browser: Browser) -> None:
    pytest.importorskip("uvicorn", reason="needs the extra explorer")
    with serving(hostile_application()) as address:
        browser.open(address)
    browser.type("a cat")
    browser.wait(lambda: "serve.py" in browser.texts("#error")[0])
