"""A synthetic WebText of any size: posts, pages and documents, whose copies are known.

Everything is a function of a seed and a number. A large corpus therefore begins with the documents
of a small one, and any part of it can be made alone. Ranks of words and of sites follow Zipf's law
as refined by Mandelbrot (1953): the probability of rank r is proportional to 1 / (r + 2.7).

In each `GROUP` of documents, numbers 1, 3, 5 and 7 are made from numbers 0, 2, 4 and 6 by changing
about the share `CHANGED` of their 5-grams.
"""

import json
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

DOCUMENT_BYTES = 5_000
"""Mean size of a document: WebText has 40 GB in 8 million (Radford et al. 2019, section 2.1)."""
GROUP = 20
CHANGED = (0.0, 0.05, 0.1, 0.15)
"""Share of changed 5-grams of each copy in a group, for Jaccard 1, 0.90, 0.82 and 0.74."""
BLOCK = 4_000
"""Documents that are made at once; a multiple of `GROUP`."""
VOCABULARY = 200_000
SITES = 2_000_000
NGRAM = 5

Integers = npt.NDArray[np.int64]


class Copies(NamedTuple):
    """Pairs of a document and a copy.

    Attributes:
        original: Numbers of documents, (pairs,).
        copy: Numbers of their copies, (pairs,).
        similarity: Jaccard similarity of their 5-gram sets.
    """

    original: Integers
    copy: Integers
    similarity: float


class WebText:
    """Documents of equal length in words.

    Args:
        words: Words of a document, at least 60; 104 give 100 5-grams.
        seed: Selects the words.
    """

    def __init__(self, words: int = 104, seed: int = 0) -> None:
        self.words, self.seed = words, seed

    @cached_property
    def vocabulary(self) -> pa.Array:
        """All words by rank, the frequent ones short, as in any language."""
        return pa.array([spelled(rank) for rank in range(VOCABULARY)])

    @cached_property
    def _below(self) -> npt.NDArray[np.float64]:
        """Probability of a word of at most each rank."""
        weights = 1 / (np.arange(VOCABULARY) + 2.7)
        below: npt.NDArray[np.float64] = np.cumsum(weights) / weights.sum()
        return below

    def changes(self, kind: int) -> int:
        """Return how many words differ in a copy; each of them is in five 5-grams."""
        return round(CHANGED[kind] * (self.words - NGRAM + 1) / NGRAM)

    def copies(self, kind: int, documents: int) -> Copies:
        """Return the copies of one kind among the first `documents` documents."""
        grams, lost = self.words - NGRAM + 1, NGRAM * self.changes(kind)
        original = np.arange(0, documents - documents % GROUP, GROUP) + 2 * kind
        return Copies(original, original + 1, (grams - lost) / (grams + lost))

    def tables(self, documents: int) -> Iterator[pa.Table]:
        """Yield the first `documents` documents, `id` and `text`, a block at a time."""
        for number in range(-(-documents // BLOCK)):
            start = number * BLOCK
            count = min(BLOCK, documents - start)
            yield pa.table({"id": ids(start, count), "text": self._block(number).slice(0, count)})

    def _block(self, number: int) -> pa.Array:
        rng = np.random.default_rng([self.seed, number])
        ranks = np.searchsorted(self._below, rng.random((BLOCK, self.words))).astype(np.int32)
        rows = np.arange(0, BLOCK, GROUP)
        new: list[str] = []
        for kind in range(len(CHANGED)):
            copies, many = rows + 2 * kind + 1, self.changes(kind)
            ranks[copies] = ranks[copies - 1]
            # At least five words apart and four from the ends, so that no 5-gram has two of them.
            for at in np.linspace(NGRAM - 1, self.words - NGRAM, many).astype(int):
                ranks[copies, at] = VOCABULARY + len(new) + np.arange(len(copies))
                new += [f"new{number}x{len(new) + n}" for n in range(len(copies))]
        words = pa.concat_arrays([self.vocabulary, pa.array(new, pa.string())])
        offsets = pa.array(np.arange(BLOCK + 1) * self.words, pa.int32())
        lists = pa.ListArray.from_arrays(offsets, words.take(pa.array(ranks.ravel())))
        texts = pc.binary_join(lists, " ")
        exact = np.isin(np.arange(BLOCK), rows + 1)  # the same words, spelled otherwise
        return pc.if_else(pa.array(exact), pc.utf8_upper(texts), texts)


def ids(start: int, count: int) -> list[str]:
    """Return ids as the stages make them: hexadecimal hashes of 128 bits."""
    return [xxhash.xxh3_128_hexdigest(b"%d" % number) for number in range(start, start + count)]


def spelled(rank: int) -> str:
    """Return the word of a rank: a syllable for each digit of the number in base 100."""
    word = ""
    while rank >= 0:
        consonant, vowel = divmod(rank % 100, 5)
        word = "bcdfghjklmnpqrstvwxz"[consonant] + "aeiou"[vowel] + word
        rank = rank // 100 - 1
    return word


def posts(start: int, count: int, seed: int = 0) -> Iterator[bytes]:
    """Yield rows of a Reddit dump: links to sites that follow Zipf's law.

    In each 20 posts, number 1 has the link of number 0 in another form, and number 2 has karma 1.
    The others have karma of 3 and above, and pages of their own: 18 of 20 posts are links.
    """
    below = np.cumsum(1 / (np.arange(SITES) + 2.7))
    filler = {f"field_{number}": "x" * 40 for number in range(30)}
    for first in range(start, start + count, GROUP):
        rng = np.random.default_rng([seed, first // GROUP])
        sites = np.searchsorted(below, rng.random(GROUP) * below[-1]).tolist()
        karma = (3 + rng.pareto(1.2, GROUP) * 5).astype(int).tolist()
        for at in range(min(GROUP, start + count - first)):
            url = f"http://site{sites[at]}.com/page/{first + at}"
            if at == 1:
                url = f"https://www.site{sites[0]}.com/page/{first}/?utm_source=reddit"
            row = {**filler, "id": f"{first + at:x}", "is_self": False, "url": url,
                   "score": 1 if at == 2 else karma[at], "created_utc": first + at,
                   "subreddit": f"s{sites[at] % 1000}"}  # fmt: skip
            yield json.dumps(row).encode() + b"\n"


def page(text: str, title: str) -> bytes:
    """Return a page with a text in paragraphs of 60 words, and the furniture of a site."""
    words = text.split()
    paragraphs = "".join(
        f"<p>{' '.join(words[at : at + 60]).capitalize()}.</p>" for at in range(0, len(words), 60)
    )
    menu = "".join(f'<li><a href="/{n}">Section {n}</a></li>' for n in range(30))
    return (
        f"<html><head><title>{title}</title></head><body><nav><ul>{menu}</ul></nav>"
        f"<article><h1>{title}</h1>{paragraphs}</article><footer>About us</footer></body></html>"
    ).encode()
