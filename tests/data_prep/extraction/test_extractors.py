"""Extractors on small pages: structure is kept as text, and a page lost by one is tried again."""

import time
from html import unescape

import pytest

from data_prep.crawl.warc import Page
from data_prep.extraction.code_blocks import with_blocks
from data_prep.extraction.extractors import EXTRACTORS
from data_prep.extraction.page import Document, TextRules, document_of, main_text, repaired

PROSE = (
    "<p>The harbour was quiet when the first boats came back with the morning's catch. Nobody "
    "spoke of the storm that had kept them out for two long nights.</p>"
)
CODE = "def f(xs):\n    out = []\n\n    for x in xs:\n\tout.append(x  +  1)\n    return out"
ALONE = [(name, at) for name in EXTRACTORS for at in range(len(EXTRACTORS[name]))]


def page(content: str) -> str:
    return (
        "<html><head><title>T</title></head><body><nav><a href=/>Home</a></nav><article>"
        f"<h1>Head</h1>{PROSE}{content}{PROSE}</article><footer>Imprint</footer></body>"
        "</html>"
    )


def text_of(content: str, name: str, at: int = 0) -> str:
    return repaired(EXTRACTORS[name][at](page(content)))


@pytest.mark.parametrize(("name", "at"), ALONE)
@pytest.mark.parametrize(
    "block",
    [
        f"<pre>{CODE}</pre>",
        f"<pre class=a\nid=b><code class='language-python'>{CODE}\n</code></pre>",
        f"<PRE>\n{CODE}</PRE>",
        "<pre>" + CODE.replace("\n", "<br>") + "</pre>",
        "<pre>" + CODE.replace("\n", "\r\n") + "</pre>",
        "<pre>" + "\n".join(f"<span class=line>{line}</span>" for line in CODE.split("\n"))
        + "</pre>",
        f"<div class=highlight><pre><span></span><span class=k>def</span>{CODE[3:]}</pre></div>",
    ],
)  # fmt: skip
def test_code_keeps_its_lines_and_its_indentation(name: str, at: int, block: str) -> None:
    text = text_of(block, name, at)
    assert CODE in text
    assert text.count("harbour was quiet") == 2


@pytest.mark.parametrize("name", ["fast", "default"])
def test_a_column_of_line_numbers_is_no_part_of_the_code(name: str) -> None:
    block = (
        "<table><tr><td class=gutter><div><pre>1\n2\n3\n4\n5\n6</pre></div></td>"
        f"<td class=code><pre>{CODE}</pre></td></tr></table>"
    )
    text = text_of(block, name)
    assert f"\n{CODE}\n" in text
    assert "1\n2" not in text


@pytest.mark.parametrize("name", ["fast", "default"])
def test_code_whose_lines_are_broken_by_tags_keeps_its_indentation(name: str) -> None:
    text = text_of("<div><code>if (a) {<br>&nbsp;&nbsp;b();<br>}</code></div>", name)
    assert "if (a) {\n  b();\n}" in text


@pytest.mark.parametrize(("name", "at"), ALONE)
def test_numbers_in_a_block_and_marks_in_code_are_kept(name: str, at: int) -> None:
    text = text_of("<pre>1\n2\n3</pre><pre>if a &lt; b || c:\n    d = '&amp;'\n</pre>", name, at)
    assert "1\n2\n3" in text
    assert "if a < b || c:\n    d = '&'" in text


@pytest.mark.parametrize(("name", "at"), ALONE)
def test_a_table_becomes_rows_of_separated_cells(name: str, at: int) -> None:
    rows = [("Name", "Time", "Size"), ("quick", "1.5", "10"), ("merge sort", "2.25", "20")]
    html = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    lines = text_of(f"<table>{html}</table>", name, at).split("\n")
    split = [[c.strip() for c in line.replace("|", "\t").split("\t")] for line in lines]
    found = [[cell for cell in cells if cell] for cells in split if len(cells) > 2]
    assert [tuple(row) for row in found if set("".join(row)) != {"-"}] == rows


@pytest.mark.parametrize(("name", "at"), ALONE)
@pytest.mark.parametrize("kind", ["ul", "ol", "UL class=x"])
def test_a_list_keeps_its_items_a_line_each(name: str, at: int, kind: str) -> None:
    end = kind.partition(" ")[0]
    html = f"<{kind}><li>Nets of hemp</li><li>A lamp</li><li>Two oars of ash</li></{end}>"
    lines = text_of(html, name, at).split("\n")
    items = [line.strip(" •-0123456789.") for line in lines]
    first = items.index("Nets of hemp")
    assert items[first : first + 3] == ["Nets of hemp", "A lamp", "Two oars of ash"]


def given_to_the_extractor(html: str) -> str:
    seen: list[str] = []
    with_blocks(html, lambda source: seen.append(source) or "")
    return seen[0]


def test_only_blocks_of_code_are_rewritten() -> None:
    for html in (
        page("<p>a\n  b</p>"),
        "<script>var a = '<pre>x\n\n y';</script><pre>never closed",
        "<!-- <pre>\n  a</pre> --><textarea><pre>\n b</pre></textarea>",
        "<prefix>\n  a</prefix><code>one  line</code>",
        "<pre>a\n  ⏎</pre>",  # holds a symbol of ours
    ):
        assert given_to_the_extractor(html) == html
    assert with_blocks("", lambda _: "a | b\n| c | d |") == "a | b\n| c | d |"


@pytest.mark.parametrize(
    "sign", ["⏎", "␠", "␉", "&#9166;", "&#x23CE;", "&#9248;", "&#x2420;", "&#09225;"]
)
def test_a_symbol_of_the_page_stays_in_its_text(sign: str) -> None:
    assert f"Press {unescape(sign)} twice" in text_of(f"<p>Press {sign} twice.</p>", "fast")


def test_a_block_within_code_keeps_its_lines() -> None:
    text = text_of("<code><pre>def f():\n\n    return 1</pre></code>", "fast")
    assert "def f():\n\n    return 1" in text


def test_lines_of_a_block_that_are_elements_stay_apart() -> None:
    html = "<pre><div>if a:</div><div>  b = '&lt;'</div>\n<p>c()</p></pre>"
    assert "if a:\n  b = '<'\nc()" in text_of(html, "fast")


def test_comments_and_programs_in_a_block_are_no_text() -> None:
    html = "<pre>mail\n\n  to<!-- <b>no</b> --> <script>var a = '<b>';</script>me</pre>"
    assert "mail\n\n  to me" in text_of(html, "fast")


@pytest.mark.parametrize(
    "html",
    [
        "<pre>\n" * 200_000 + "<code><!--" * 200_000,
        "<code>" * 200_000 + "</code>",
        *(f"<pre>{mark * 200_000}</pre>" for mark in ("<!--", "<a", "<br", "<script", "<!--x")),
    ],
    ids=["open", "code", "comment", "tag", "break", "script", "comments"],
)
def test_pages_full_of_unclosed_markup_take_linear_time(html: str) -> None:
    """They take less than a second; quadratic search takes minutes."""
    began = time.process_time()
    given_to_the_extractor(html)
    assert time.process_time() - began < 10


def test_a_page_is_kept_if_any_extractor_finds_a_text_that_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    good = PROSE.removeprefix("<p>").removesuffix("</p>") + " "
    tried: list[str] = []

    def extractor(text: str, name: str):
        return lambda html: tried.append(name) or text

    monkeypatch.setitem(
        EXTRACTORS, "union",
        (extractor("Short.", "a"), extractor(good * 6, "b"), extractor(good * 9, "c")),
    )  # fmt: skip
    web_page = Page("http://a.com/", "text/html", "utf-8", b"<p>x</p>")
    kept = document_of(web_page, TextRules())
    assert (kept.reason, kept.text) == ("", (good * 6).strip())
    assert tried == ["a", "b"]  # the first that passes; the rest is not run

    monkeypatch.setitem(
        EXTRACTORS, "union", (extractor("Short.", "a"), extractor("", "b"))
    )  # fmt: skip
    assert document_of(web_page, TextRules()) == Document("Short.", "too short", tokens=2)


def test_plain_text_has_one_candidate() -> None:
    plain = Page("http://a.com/", "text/plain", "utf-8", b"<pre>\n  a</pre>")
    assert main_text(plain, "union") == "<pre>\n  a</pre>"
