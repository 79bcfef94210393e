"""8-grams per second added to and looked up in a Bloom filter, compared with rbloom and a set.

    python benchmarks/overlap_speed.py REALDATA [--millions 200]

One core, one run. Ours is measured three times: hashes alone, with a filter of `millions` items
(default 200, over a gigabyte, far larger than the caches); from text, including normalization; and
the inverse direction. The peers get the 8-grams of the novels as Python strings that are normalized
before the clock starts; rbloom is also timed from text. Bits per item are memory divided by items
added.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import rbloom
import xxhash

from benchmarks.common.options import parser
from benchmarks.common.report import report
from benchmarks.common.timing import timed
from data_prep.ngrams.bloom import BloomFilter
from data_prep.ngrams.bloom_size import blocks_for
from data_prep.ngrams.exact_set import ExactSet
from data_prep.ngrams.hashing import Ngrams, ngrams

WORDS = re.compile(r"[^\W_]+")
BATCH = 4_000_000


rows: list[tuple[str, ...]] = []
notes: list[str] = []


def seconds(task: Callable[[], Any]) -> float:
    return timed(task).wall


def show(label: str, items: int, add: float, hit: float, miss: float, bits: float) -> None:
    rates = (f"{items / s / 1e6:.2f}" if s else "" for s in (add, hit, miss))
    rows.append((label, *rates, f"{bits:.1f}" if bits else ""))


def hashes_alone(millions: int) -> None:
    """Fill a filter with many items in batches, so that the caches are as cold as with a corpus."""
    rng = np.random.default_rng(0)
    items = millions * 1_000_000
    made, add = BloomFilter(blocks_for(items)), 0.0
    for start in range(0, items, BATCH):
        batch = rng.integers(0, 2**64, min(BATCH, items - start), np.uint64)
        add += seconds(lambda batch=batch: made.add(batch))
    scale = items / len(batch)
    hit = seconds(lambda: made.contains(batch)) * scale
    absent = rng.integers(0, 2**64, len(batch), np.uint64)
    miss = seconds(lambda: made.contains(absent)) * scale
    found = int(made.contains(absent).sum())
    show(f"ours, hashes alone, {millions} M items", items, add, hit, miss, made.n_bytes * 8 / items)
    notes.append(
        f"False positives among {len(absent):,} other hashes: {found}; rate by the filter's bits: "
        f"{made.false_positive_rate():.3g}."
    )


def normalized(text: str) -> list[str]:
    words = WORDS.findall(text.lower())
    return [" ".join(words[at : at + 8]) for at in range(len(words) - 7)]


def from_text(texts: list[str], tests: list[str]) -> None:
    arrow, asked = pa.array(texts), pa.array(tests)
    grams = ngrams(arrow)
    items, distinct = len(grams.hashes), len(np.unique(grams.hashes))
    made = BloomFilter(blocks_for(distinct))
    normalize = seconds(lambda: ngrams(arrow))
    size = sum(len(text.encode()) for text in texts) / 1e6
    notes.append(
        f"Normalizing and hashing alone: {items / normalize / 1e6:.1f} M 8-grams/s, "
        f"{size / normalize:.0f} MB/s."
    )
    add = seconds(lambda: made.add(ngrams(arrow).hashes))
    hit = seconds(lambda: made.contains(ngrams(arrow).hashes))
    show("ours, from text", items, add, hit, 0, made.n_bytes * 8 / distinct)
    exact = ExactSet.of([ngrams(asked)])

    def inverse(grams: Ngrams) -> None:
        exact.find(grams)

    show("ours, from text, inverse (exact set of tests)", items, 0, 0,
         seconds(lambda: inverse(ngrams(arrow))), 0)  # fmt: skip


def peers(texts: list[str], absent: list[str]) -> None:
    strings = [gram for text in texts for gram in normalized(text)]
    distinct = len(set(strings))

    def to_hash(value: str) -> int:
        return xxhash.xxh3_128_intdigest(value.encode()) - 2**127

    for name, make in (
        ("rbloom, 8-grams as Python strings", lambda: rbloom.Bloom(distinct, 1e-8)),
        ("rbloom, the same, 128-bit xxh3", lambda: rbloom.Bloom(distinct, 1e-8, to_hash)),
        ("a Python set, the same", set),
    ):
        made: Any = make()
        add = seconds(lambda made=made: made.update(strings))
        hit = seconds(lambda made=made: [gram in made for gram in strings])
        miss = seconds(lambda made=made: [gram in made for gram in absent])
        bits = made.size_in_bits if hasattr(made, "size_in_bits") else (
            8 * (sys.getsizeof(made) + sum(sys.getsizeof(gram) for gram in made))
        )  # fmt: skip
        show(name, len(strings), add, hit, miss * len(strings) / len(absent), bits / distinct)
    made = rbloom.Bloom(distinct, 1e-8)
    add = seconds(lambda: made.update(g for text in texts for g in normalized(text)))
    show("rbloom, from text", len(strings), add, 0, 0, made.size_in_bits / distinct)


def main() -> None:
    options = parser(__doc__, millions=200)
    options.add_argument("realdata", type=Path)
    args = options.parse_args()
    novels = sorted((args.realdata / "text/novels").glob("*.txt"))
    texts = [path.read_text() for path in novels]
    wiki = (args.realdata / "evalsets/wikitext2_test.raw").read_text()
    warm = BloomFilter(8)
    warm.add(ngrams(pa.array(["one two three four five six seven eight"])).hashes)
    warm.contains(np.zeros(1, np.uint64))
    ExactSet.of([ngrams(pa.array([wiki[:2000]]))]).find(ngrams(pa.array(["a"])))
    hashes_alone(args.millions)
    from_text(texts, [wiki])
    peers(texts[:12], normalized(wiki))
    report(
        "How fast are 8-grams looked up? Millions per second, one core",
        ("", "added", "found", "not found", "bits per item"),
        rows,
        notes=notes,
    )


if __name__ == "__main__":
    main()
