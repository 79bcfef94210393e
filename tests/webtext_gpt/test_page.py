"""A Markdown report as one HTML file."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from webtext_gpt.page import write_page

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
TEXT = r"""# A *report* of x\_y

| a | b |
|---|---|
| 1 \| 2 | <script>alert(1)</script> |

![the curve](inner/curve.png) ![remote](https://example.org/x.png) ![other](../secret.png)

> [a link](https://example.org) and <https://example.org/two>

```text
<b>&amp;</b> `code`
```
"""


class _Elements(HTMLParser):
    """Names and attributes of all elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture
def page(tmp_path: Path) -> str:
    (tmp_path / "run/inner").mkdir(parents=True)
    (tmp_path / "run/inner/curve.png").write_bytes(PIXEL)
    (tmp_path / "secret.png").write_bytes(PIXEL)
    (tmp_path / "run/report.md").write_text(TEXT)
    assert write_page(tmp_path / "run/report.md") == tmp_path / "run/report.html"
    return (tmp_path / "run/report.html").read_text()


def test_a_page_refers_to_nothing_outside(page: str) -> None:
    elements = _Elements(page).found
    assert not {tag for tag, _ in elements} & {"script", "link", "iframe", "a", "b"}
    addresses = [v for _, attrs in elements for k, v in attrs.items() if k in ("src", "href")]
    inside = f"data:image/png;base64,{base64.b64encode(PIXEL).decode()}"
    assert addresses == [inside]  # of three pictures, the one in the folder
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_a_page_shows_what_the_markdown_says(page: str) -> None:
    assert "<title>A report of x_y</title>" in page
    assert "<td>1 | 2</td>" in page
    assert "&lt;script&gt;" in page
    assert "[remote]" in page
    assert re.search(r"&lt;b&gt;&amp;amp;&lt;/b&gt; `code`", page)


def test_a_page_is_as_wide_as_a_phone(tmp_path: Path, chromium: "Chrome") -> None:
    """Pictures and long settings are whole at 390 pixels; only wide tables scroll."""
    (tmp_path / "curve.png").write_bytes(PIXEL)
    long = "| setting | value |\n|---|---|\n| model.activation | " + "relu_squared" * 6 + " |"
    meaning = "a long meaning of the figure that wants all of the width " * 2
    number = f"| figure | value | meaning |\n|---|---|---|\n| parameters | 2,884,616 | {meaning} |"
    (tmp_path / "report.md").write_text(f"# r\n\n![c](curve.png)\n\n{long}\n\n{number}\n")
    chromium.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 900, "deviceScaleFactor": 1, "mobile": True},
    )
    chromium.get(write_page(tmp_path / "report.md").as_uri())
    width = (
        "return Math.max(...[...document.querySelectorAll('img, td')]"
        ".map((e) => e.getBoundingClientRect().right))"
    )
    assert 300 < chromium.execute_script(width) <= 390
    lines = (
        "const range = document.createRange();"
        "range.selectNodeContents(document.querySelector('td.number'));"
        "return range.getClientRects().length"
    )
    assert chromium.execute_script(lines) == 1  # a number is not broken
    chromium.get("about:blank")
