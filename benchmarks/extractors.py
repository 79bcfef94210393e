"""Quality and speed of extractors on the 181 gold pages.

    python benchmarks/extractors.py REALDATA

The script prints precision, recall and F1 over 4-grams, and pages per second. One core, one run. F1
is computed from mean precision and mean recall, as in the pages' benchmark.
"""

import gzip
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import trafilatura
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import bytes_to_str, detect_encoding

from data_prep.crawl.warc import Page
from data_prep.extraction.page import main_text

SENTENCE_END = re.compile(r"[.!?\u2026\"'\u201d\u2019:;)]\s*$")


def shingles(text: str, n: int = 4) -> Counter[tuple[str, ...]]:
    words = re.findall(r"\w+", text)
    grams = (tuple(words[i : i + n]) for i in range(max(len(words) - n + 1, 1)))
    return Counter(grams) if words else Counter()


def resiliparse(body: bytes) -> str:
    return extract_plain_text(
        bytes_to_str(body, detect_encoding(body) or "utf-8"),
        main_content=True, alt_texts=False, preserve_formatting=True,
    )  # fmt: skip


def careful(body: bytes, fast: bool = False, tables: bool = True) -> str:
    return trafilatura.extract(
        body, fast=fast, include_comments=False, include_tables=tables
    ) or ""  # fmt: skip


def combined(share: float) -> Callable[[bytes], str]:
    """Try resiliparse; use Trafilatura if too much text is in lines that do not end a sentence."""

    def extract(body: bytes) -> str:
        text = resiliparse(body)
        lines = [line for line in text.split("\n") if line.strip()]
        odd = sum(len(ln) for ln in lines if not SENTENCE_END.search(ln) or len(ln) < 30)
        length = sum(map(len, lines))
        sure = length > 1500 and odd <= share * length
        return text if sure else careful(body, fast=True)

    return extract


def main() -> None:
    realdata = Path(sys.argv[1])
    truth = json.loads((realdata / "web/articles_ground_truth.json").read_text())
    pages = {
        name: gzip.decompress((realdata / f"web/articles/{name}.html.gz").read_bytes())
        for name in truth
    }
    extractors: dict[str, Callable[[bytes], str]] = {
        "resiliparse": resiliparse,
        "trafilatura": careful,
        "trafilatura, fast": lambda body: careful(body, fast=True),
        "trafilatura, fast, no tables": lambda body: careful(body, fast=True, tables=False),
        "resiliparse, else trafilatura: 1 %": combined(0.01),
        "resiliparse, else trafilatura: 3 %": combined(0.03),
        "resiliparse, else trafilatura: 5 %": combined(0.05),
        "documents.py": lambda body: main_text(Page("http://a.com/", "text/html", "", body)),
    }
    gold = {name: shingles(entry["articleBody"]) for name, entry in truth.items()}
    careful(next(iter(pages.values())))  # keep the imports out of the timing
    for label, extract in extractors.items():
        start = time.process_time()
        texts = {name: extract(body) for name, body in pages.items()}
        seconds = time.process_time() - start
        precisions, recalls = [], []
        for name, text in texts.items():
            found = shingles(text)
            shared = (found & gold[name]).total()
            precisions.append(shared / found.total() if found else 0.0)
            recalls.append(shared / gold[name].total())
        precision, recall = sum(precisions) / len(pages), sum(recalls) / len(pages)
        f1 = 2 * precision * recall / (precision + recall)
        rate = len(pages) / seconds
        print(f"{label:36} {precision:.3f} {recall:.3f} {f1:.4f} {rate:5.0f}/s", flush=True)


if __name__ == "__main__":
    main()
