"""A Markdown report as one HTML file, which needs no network and no other file."""

import base64
import html
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from webtext_gpt.evaluation.tables import NUMBER
from webtext_gpt.files import read_text, write_text

if TYPE_CHECKING:
    from markdown_it.token import Token

PNG = b"\x89PNG\r\n\x1a\n"

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --line: #d0d0d0; --soft: #f4f4f4; --shade: #bbb; }}
@media (prefers-color-scheme: dark) {{ :root {{
  --line: #4a4a4a; --soft: #262626; --shade: #666; }} }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 0 auto; padding: 1rem; }}
h1, h2, h3 {{ line-height: 1.2; margin: 1.6em 0 0.5em; overflow-wrap: anywhere; }}
img {{ width: 100%; max-width: 600px; height: auto; background: #fff; }}
.wide {{ overflow-x: auto; background: /* a shadow at an edge beyond which there is more */
  linear-gradient(90deg, Canvas 30%, transparent) left / 3em 100% local,
  linear-gradient(270deg, Canvas 30%, transparent) right / 3em 100% local,
  linear-gradient(90deg, var(--shade), transparent) left / 1em 100% scroll,
  linear-gradient(270deg, var(--shade), transparent) right / 1em 100% scroll;
  background-repeat: no-repeat; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: 0.25em 0.7em; border-bottom: 1px solid var(--line); text-align: left; }}
th {{ font-weight: 600; }}
th, td {{ vertical-align: top; overflow-wrap: break-word; max-width: 22rem; }}
table:not(:has(td:nth-child(4))) td {{ overflow-wrap: anywhere; }}
td.number {{ white-space: nowrap; }}
@media (max-width: 600px) {{ table {{ font-size: 0.9em; }} th, td {{ padding: 0.25em 0.4em; }} }}
pre, blockquote {{ background: var(--soft); padding: 0.7em; margin: 0 0 1em; border-radius: 4px; }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; font-size: 0.9em; }}
</style>
</head>
<body>
{body}</body>
</html>
"""


def write_page(markdown: Path) -> Path:
    """Write a Markdown file as an HTML file beside it, with its pictures inside.

    HTML in the Markdown is shown as text, and links are not followed: a report quotes texts of
    other people. The page is light or dark as the browser asks, and its title is the first heading.

    Args:
        markdown: CommonMark with tables. Pictures are PNG files in its folder or below.

    Returns:
        Path of the HTML file.
    """
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.disable(["link", "autolink", "reference"])
    parser.add_render_rule("table_open", lambda *_: '<div class="wide"><table>\n')
    parser.add_render_rule("table_close", lambda *_: "</table></div>\n")
    tokens = parser.parse(read_text(markdown))
    title = next((_plain(b) for a, b in pairwise(tokens) if a.type == "heading_open"), "report")
    for opening, token in pairwise(tokens):
        if opening.type == "td_open" and NUMBER.fullmatch(token.content):
            opening.attrSet("class", "number")
    for token in tokens:
        for child in token.children or ():
            if child.type == "image":
                _put_inside(child, markdown.parent)
    body = parser.renderer.render(tokens, parser.options, {})
    page = markdown.with_suffix(".html")
    write_text(page, _PAGE.format(title=html.escape(title), body=body))
    return page


def _plain(heading: "Token") -> str:
    """Return the text of a heading without marks."""
    return "".join(child.content for child in heading.children or ())


def _put_inside(image: "Token", folder: Path) -> None:
    """Replace the address of a picture by its contents, or the picture by its description."""
    file = folder / str(image.attrs["src"])
    inside = folder.resolve() in file.resolve().parents
    data = file.read_bytes() if inside and file.is_file() else b""
    if data.startswith(PNG):
        image.attrs["src"] = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    else:
        image.type, image.content = "text", f"[{image.content}]"
