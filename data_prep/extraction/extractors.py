"""The main text of an HTML page, by the extractor of choice.

`fast` is Trafilatura's own algorithm. `default` also compares its text with those of readability
and jusText, as Trafilatura does by default. `union` gives the text of `fast`, then Resiliparse's;
the first that passes the rules is the page's. So a page is kept if any extractor finds a text that
is kept (Li et al. 2026, arXiv 2602.19548).
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from data_prep.extraction.code_blocks import with_blocks

_LIST = re.compile(r"<(/?)ul(?=[\s/>])", re.I)


def candidates(html: str, extractor: str) -> Iterator[str]:
    """Yield the texts of a page in the order in which they are tried.

    Args:
        html: The page.
        extractor: A key of `EXTRACTORS`.
    """
    for extract in EXTRACTORS[extractor]:
        yield extract(html)


def _fast(html: str) -> str:
    return _trafilatura(html, fast=True)


def _default(html: str) -> str:
    return _trafilatura(html, fast=False)


def _resiliparse(html: str) -> str:
    """Extract the text without menus and the like.

    Resiliparse drops every `<ul>` as a menu. Under their other name, lists are kept.
    """
    from resiliparse.extract.html2text import extract_plain_text

    text: str = extract_plain_text(
        _LIST.sub(r"<\1menu", html), main_content=True, alt_texts=False, preserve_formatting=True
    )
    return text


def _trafilatura(html: str, *, fast: bool) -> str:
    import trafilatura

    def extract(source: str) -> str:
        return (
            trafilatura.extract(source, fast=fast, include_comments=False, include_tables=True)
            or ""
        )

    return with_blocks(html, extract)


EXTRACTORS: Mapping[str, Sequence[Callable[[str], str]]] = {
    "fast": (_fast,), "default": (_default,), "union": (_fast, _resiliparse),
}  # fmt: skip
"""The extractors of each choice, in the order in which they are tried."""
