"""The site of the documentation: complete, alike on GitHub, and readable without a network."""

import re
import time
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

REPOSITORY = Path(__file__).parents[1]
PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
BLOCKS = ("h1", "h2", "h3", "table", "pre", "ul", "ol", "li", "img")
"""Elements that a page has to have as often on GitHub as in the site."""


class _Parser(HTMLParser):
    """Count elements, and collect what an HTML page links to, loads and can be linked at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.cells: list[str] = []
        self._is_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        if tag in ("th", "td"):
            self.cells.append("")
            self._is_cell = True
        given = dict(attrs)
        self.ids |= {value for name in ("id", "name") if (value := given.get(name))}
        address = given.get("href") or given.get("src")
        if address and tag == "a":
            self.links.append(address)
        elif address and given.get("rel") != "canonical":
            self.loads.append(address)

    def handle_endtag(self, tag: str) -> None:
        self._is_cell = self._is_cell and tag not in ("th", "td")

    def handle_data(self, data: str) -> None:
        if self._is_cell:
            self.cells[-1] += data


SCROLLING = """
const wider = (element) => element.scrollWidth > element.clientWidth + 1;
const longest = (code) => Math.max(...code.textContent.split("\\n").map((line) => line.length));
const code = [...document.querySelectorAll("article pre > code")].filter(wider);
const cut = arguments[0] < 500
  ? code.filter((one) => one.closest(".language-bash"))
  : code.filter((one) => longest(one) <= 100);
const tables = arguments[0] < 500 ? [] : [...document.querySelectorAll(".wide")].filter(wider);
const beyond = (element) => element.getBoundingClientRect().right > innerWidth;
const pictures = [...document.querySelectorAll("article img")].filter(beyond);
return [...cut, ...tables, ...pictures].map((element) => element.outerHTML.slice(0, 200));
"""
"""What should fit but does not: commands on a phone, elsewhere tables and code of 100 columns."""


class _Loader(yaml.SafeLoader):
    """Reads mkdocs.yml, without the one Python object in it."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)
EXTENSIONS = yaml.load((REPOSITORY / "mkdocs.yml").read_text(), _Loader)["markdown_extensions"]
CONFIGS = {"pymdownx.arithmatex": {"generic": True}}
NOT_TEXT = re.compile(r"\\[()]|\\(?!\|)|\$|\s")
"""Space, and what marks a formula, in a cell of a table."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_the_same_blocks_on_github(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python-Markdown, which makes the site, reads lists, indentation and bars differently."""
    markdown = pytest.importorskip("markdown", reason="needs the extra docs")
    pytest.importorskip("pymdownx", reason="needs the extra docs")
    github = pytest.importorskip("markdown_it").MarkdownIt("gfm-like", {"linkify": False})
    monkeypatch.syspath_prepend(REPOSITORY / "docs" / "theme")
    pages = pytest.importorskip("pages", reason="needs the extra docs")
    text = page.read_text(encoding="utf-8")
    names = [entry if isinstance(entry, str) else min(entry) for entry in EXTENSIONS]
    ours = markdown.markdown(pages.as_github(text), extensions=names, extension_configs=CONFIGS)
    here, there = _Parser(pages.breakable(ours)), _Parser(github.render(text))
    assert {tag: here.tags[tag] for tag in BLOCKS} == {tag: there.tags[tag] for tag in BLOCKS}
    assert [NOT_TEXT.sub("", cell) for cell in here.cells] == [
        NOT_TEXT.sub("", cell) for cell in there.cells
    ]


def test_the_navigation_names_each_page_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(REPOSITORY / "docs" / "theme")
    pages = pytest.importorskip("pages", reason="needs the extra docs")
    made = {*pages.TOP.values(), *(f"reference/{pages.api_page(title)}" for title in pages.API)}
    docs = REPOSITORY / "docs"
    for file in docs.rglob(".nav.yml"):
        named = [*_entries(yaml.safe_load(file.read_text())["nav"])]
        assert len(set(named)) == len(named), file
        for name in named:
            path = (file.parent / name).relative_to(docs).as_posix()
            assert name == "*" or (docs / path).exists() or path in made, f"{file}: {name}"


def _entries(nav: list[Any] | str) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
        return
    for entry in nav:
        for inner in entry.values() if isinstance(entry, dict) else [entry]:
            yield from _entries(inner)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_site_shows_every_block_of_code_as_such(page: Path) -> None:
    """A diagram in a language of diagrams would be shown as its source."""
    lexers = pytest.importorskip("pygments.lexers", reason="needs the extra docs")
    for language in re.findall(r"^ *```(\w+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        lexers.get_lexer_by_name(language)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as `make docs` builds it."""
    mkdocs = pytest.importorskip("mkdocs", reason="needs the extra docs")
    assert mkdocs.__version__
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    config = load_config(str(REPOSITORY / "mkdocs.yml"), strict=True, site_dir=str(folder))
    config.plugins.on_startup(command="build", dirty=False)
    build(config)
    return folder


@pytest.mark.slow
def test_the_site_has_every_page_and_no_broken_link(site: Path) -> None:
    pages = {path: _Parser(path.read_text("utf-8")) for path in site.rglob("*.html")}
    for page in (REPOSITORY / "docs").rglob("*.md"):
        made = site / page.relative_to(REPOSITORY / "docs").with_suffix(".html")
        assert made in pages
    assert site / "reference/api/models.html" in pages
    del pages[site / "404.html"]  # its addresses are those of a server
    for path, page in pages.items():
        for address in page.links + page.loads:
            parts = urlsplit(address)
            if parts.scheme in ("http", "https", "data", "mailto"):
                assert address in page.links or parts.scheme == "data", f"{path} loads {address}"
                continue
            to = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            to = to / "index.html" if to.is_dir() else to
            assert to.is_file(), f"{path.relative_to(site)}: {address}"
            if parts.fragment and to.suffix == ".html":
                assert unquote(parts.fragment) in pages[to].ids, f"{path.name}: {address}"


@pytest.mark.slow
def test_the_api_shows_docstrings(site: Path) -> None:
    text = re.sub(r"<[^>]+>", "", (site / "reference/api/models.html").read_text("utf-8"))
    for name in ("GPTClassifier", "KeyValueCache", "add_lora", "TransformerConfig"):
        assert name in text
    assert "Return next-token logits" in text


@pytest.mark.slow
def test_the_site_needs_no_network(site: Path, chromium: "Chrome") -> None:
    """Opened as files: nothing is asked of a host, the search finds, and nothing overflows."""
    from selenium.webdriver.common.by import By

    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    chromium.get_log("performance")
    for width in (390, 1280):
        size |= {"width": width, "mobile": width < 500}
        chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        for page in ("index", "how-to/weights", "reference/configuration", "reference/api/data"):
            chromium.get((site / f"{page}.html").as_uri())
            overflow = "return document.documentElement.scrollWidth - innerWidth"
            assert chromium.execute_script(overflow) <= 0, (page, width)
            assert chromium.execute_script(SCROLLING, width) == [], (page, width)
    field = chromium.find_element(By.CSS_SELECTOR, ".md-search__input")
    chromium.execute_script("arguments[0].focus()", field)
    field.send_keys("perplexity")
    end = time.monotonic() + 20
    while not (found := chromium.find_elements(By.CSS_SELECTOR, ".md-search-result__link")):
        assert time.monotonic() < end, "the search found nothing"
        time.sleep(0.1)
    assert any("evaluation.html" in link.get_attribute("href") for link in found)
    sent = " ".join(entry["message"] for entry in chromium.get_log("performance"))
    assert re.findall(r'"url":"(https?://[^"]+)"', sent) == []
