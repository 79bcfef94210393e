"""Quality, yield and speed of extractors on the 181 gold pages.

    python benchmarks/extractors.py REALDATA [--pages 181]

The first table has precision, recall and F1 over 4-grams, as in the pages' benchmark (F1 of mean
precision and mean recall), and pages per CPU second. The second has the pages and tokens that
`documents.py` keeps with each extractor, and precision, recall and F1 if the text of a dropped page
is empty. Extractors take turns page by page, so that other load affects all alike. One core.
"""

import gzip
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import trafilatura

from benchmarks.common.options import parser
from benchmarks.common.report import report
from benchmarks.common.timing import cpu_seconds
from data_prep.crawl.warc import Page
from data_prep.extraction.extractors import EXTRACTORS
from data_prep.extraction.page import TextRules, document_of

SENTENCE_END = re.compile(r"[.!?\u2026\"'\u201d\u2019:;)]\s*$")
Extract = Callable[[str], str]
SCORES = ("precision", "recall", "F1", "pages per CPU second")


def shingles(text: str, n: int = 4) -> Counter[tuple[str, ...]]:
    words = re.findall(r"\w+", text)
    grams = (tuple(words[i : i + n]) for i in range(max(len(words) - n + 1, 1)))
    return Counter(grams) if words else Counter()


def without_tables(html: str) -> str:
    return trafilatura.extract(html, fast=True, include_comments=False, include_tables=False) or ""


def for_recall(html: str) -> str:
    return trafilatura.extract(html, favor_recall=True, include_comments=False) or ""


def combined(share: float) -> Extract:
    """Try resiliparse; use Trafilatura if too much text is in lines that do not end a sentence."""

    def extract(html: str) -> str:
        text = EXTRACTORS["union"][-1](html)
        lines = [line for line in text.split("\n") if line.strip()]
        odd = sum(len(ln) for ln in lines if not SENTENCE_END.search(ln) or len(ln) < 30)
        length = sum(map(len, lines))
        sure = length > 1500 and odd <= share * length
        return text if sure else EXTRACTORS["fast"][0](html)

    return extract


def scores(texts: Mapping[str, str], gold: Mapping[str, Counter[tuple[str, ...]]]) -> list[str]:
    precisions, recalls = [], []
    for name, text in texts.items():
        found = shingles(text)
        shared = (found & gold[name]).total()
        precisions.append(shared / found.total() if found else 0.0)
        recalls.append(shared / gold[name].total())
    precision, recall = sum(precisions) / len(texts), sum(recalls) / len(texts)
    f1 = 2 * precision * recall / (precision + recall)
    return [f"{precision:.3f}", f"{recall:.3f}", f"{f1:.4f}"]


def main() -> None:
    options = parser(__doc__, pages=181)
    options.add_argument("realdata", type=Path)
    args = options.parse_args()
    realdata = args.realdata
    truth = json.loads((realdata / "web/articles_ground_truth.json").read_text())
    pages = {
        name: gzip.decompress((realdata / f"web/articles/{name}.html.gz").read_bytes()).decode()
        for name in list(truth)[: args.pages]
    }
    gold = {name: shingles(truth[name]["articleBody"]) for name in pages}
    extractors: dict[str, Extract] = {
        "resiliparse": EXTRACTORS["union"][-1],
        "trafilatura": EXTRACTORS["default"][0],
        "trafilatura, for recall": for_recall,
        "trafilatura, fast": EXTRACTORS["fast"][0],
        "trafilatura, fast, no tables": without_tables,
        "resiliparse, else trafilatura: 1 %": combined(0.01),
        "resiliparse, else trafilatura: 3 %": combined(0.03),
    }
    texts: dict[str, dict[str, str]] = {label: {} for label in extractors}
    seconds = Counter[str]()
    for extract in extractors.values():
        extract(next(iter(pages.values())))  # keep the imports out of the timing
    for name, html in pages.items():
        for label, extract in extractors.items():
            start = cpu_seconds()
            texts[label][name] = extract(html)
            seconds[label] += cpu_seconds() - start
    report(
        f"How good is the text of {len(pages)} pages by extractor? 4-grams, one core",
        ("", *SCORES),
        [
            (label, *scores(texts[label], gold), f"{len(pages) / seconds[label]:.0f}")
            for label in extractors
        ],
    )
    for gopher in (False, True):
        compare(pages, gold, gopher)


def compare(
    pages: Mapping[str, str], gold: Mapping[str, Counter[tuple[str, ...]]], gopher: bool
) -> None:
    seconds, kept, tokens = Counter[str](), Counter[str](), Counter[str]()
    texts: dict[str, dict[str, str]] = {name: {} for name in EXTRACTORS}
    for name, html in pages.items():
        page = Page("http://a.com/", "text/html", "utf-8", html.encode())
        for extractor in EXTRACTORS:
            start = cpu_seconds()
            found = document_of(page, TextRules(extractor, language="", gopher=gopher))
            seconds[extractor] += cpu_seconds() - start
            kept[extractor] += not found.reason
            tokens[extractor] += 0 if found.reason else found.tokens
            texts[extractor][name] = "" if found.reason else found.text
    report(
        f"What does `documents.py` keep of them? text.gopher={str(gopher).lower()}",
        ("extractor=", "pages", "tokens", *SCORES),
        [
            (
                name,
                str(kept[name]),
                f"{tokens[name]:,}",
                *scores(texts[name], gold),
                f"{len(pages) / seconds[name]:.0f}",
            )
            for name in EXTRACTORS
        ],
    )


if __name__ == "__main__":
    main()
