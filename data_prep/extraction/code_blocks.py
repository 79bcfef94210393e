"""Keep the line breaks and the indentation of code blocks through an extractor that drops them.

Trafilatura writes a block without its empty lines, often without its indentation, and on one line
if it is in a table cell. Before extraction, the white space of each block is therefore written as
visible symbols, which it takes for letters, and afterwards the symbols become white space again.
"""

import re
from collections.abc import Callable, Iterator

LINE, SPACE, TAB = "⏎", "␠", "␉"
"""Symbols for white space. A page that holds one of them is left as it is."""

_ENDS = {
    kind: re.compile(end, re.I)
    for kind, end in {
        "<!--": "-->", "<script": r"</script\b", "<style": r"</style\b",
        "<textarea": r"</textarea\b", "<pre": r"</pre\b", "<code": r"</code\b", "<br": r"<br\b",
    }.items()
}  # fmt: skip
_BEGINNING = re.compile(r"<!--|<(?:script|style|textarea|pre|code)(?=[\s/>])", re.I)
_COMMENT = re.compile(r"<!--.*?-->", re.S)
_PROGRAM = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|\Z)", re.I | re.S)
_BREAK = re.compile(r"<br\b[^>]*>|(?:</(?:div|p|li|tr)\b[^>]*>)+\n?", re.I)  # ends a line
_TAG = re.compile(r"</?[a-z][^>]*>", re.I)
_SYMBOL = re.compile(
    f"[{LINE}{SPACE}{TAB}]|&#(?:0*(?:9166|9248|9225)|x0*(?:23ce|2420|2409))\\b", re.I
)
_HARD_SPACE = re.compile(r"&nbsp;|&#160;|&#xa0;|\xa0", re.I)
_RUN = re.compile(r"^ +| {2,}", re.M)
_CELL = re.compile(r"<td\b[^>]*>(?:\s|<[^>]*>)*$", re.I)  # nothing but tags since the cell began
_WHITE_SPACE = str.maketrans({LINE: "\n", SPACE: " ", TAB: "\t"})


def with_blocks(html: str, extract: Callable[[str], str]) -> str:
    """Return the text that an extractor finds in a page, with the white space of code blocks."""
    if _SYMBOL.search(html):
        return extract(html)
    return _shown(extract(_hidden(html)))


def _hidden(html: str) -> str:
    """Replace the content of each code block by its text, with symbols for white space.

    A block is a `<pre>`, or a `<code>` with line breaks (`<br>`). Columns of line numbers, as
    highlighters set them beside the code, are left out.
    """
    parts, copied = [], 0
    for start, end in _blocks(html):
        opened = html.find(">", start, end) + 1
        if not opened:
            continue
        text = _text(html[opened:end])
        if _is_gutter(text) and _CELL.search(html, max(copied, start - 300), start):
            text = ""
        run = _RUN.sub(lambda found: SPACE * len(found[0]), text)
        parts += [html[copied:opened], run.replace("\n", LINE).replace("\t", TAB)]
        copied = end
    return "".join([*parts, html[copied:]])


def _shown(text: str) -> str:
    """Turn the symbols in an extracted text into white space again."""
    if LINE in text:  # a block that was a table's only cell is no row
        rows = text.split("\n")
        text = "\n".join(r.strip("| ") if LINE in r and r.startswith("|") else r for r in rows)
    return text.translate(_WHITE_SPACE)


def _blocks(html: str) -> Iterator[tuple[int, int]]:
    """Yield where each closed block begins and where its end tag begins, in linear time."""
    at, ends = 0, dict[str, tuple[int, int]]()

    def next_of(kind: str) -> tuple[int, int]:
        """Return where the next end of a kind begins and ends; each is searched for once."""
        if kind not in ends or ends[kind][0] < at:
            end = _ENDS[kind].search(html, at)
            ends[kind] = end.span() if end else (len(html), -1)
        return ends[kind]

    while found := _BEGINNING.search(html, at):
        kind, at = found[0].lower(), found.end()
        start, after = next_of(kind)
        if after < 0 or (kind == "<code" and next_of("<br")[0] >= start):
            continue  # not closed; or a line of code, which may be around a block
        if kind in ("<pre", "<code"):
            yield found.start(), start
        at = after


def _text(content: str) -> str:
    text = content.replace("\r\n", "\n")
    end = text.rfind("-->") + 1  # no comment ends after the last "-->", so none is searched for
    text = _COMMENT.sub("", text[: end + 2]) + text[end + 2 :] if end else text
    text = _PROGRAM.sub("", text)
    end = text.rfind(">") + 1
    text = _TAG.sub("", _BREAK.sub("\n", text[:end])) + text[end:]
    return _HARD_SPACE.sub(" ", text).removeprefix("\n").rstrip()


def _is_gutter(text: str) -> bool:
    """Return whether a text consists of line numbers."""
    numbers = text.split()
    if len(numbers) < 2 or not all(n.isdecimal() and len(n) < 7 for n in numbers):
        return False
    first = int(numbers[0])
    return [int(n) for n in numbers] == list(range(first, first + len(numbers)))
