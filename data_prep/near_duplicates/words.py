"""Words and word n-grams of documents, as de-duplication sees them.

A word is a run of letters and digits of any script, in lower case; nothing else counts.
"""

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

if TYPE_CHECKING:
    from daft import Expression

_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd: multiplying loses nothing


def normalised(text: "Expression") -> "Expression":
    """A Daft expression: the words of a text, joined by one space."""
    from daft import functions

    words = functions.regexp_replace(functions.lower(text), r"[^\p{L}\p{M}\p{N}]+", " ")
    return functions.lstrip(functions.rstrip(words))


def ngram_sets(normal: pa.StringArray, size: int) -> list[np.ndarray]:
    """The word n-grams of normalised texts: for each, a sorted array of 64-bit hashes.

    A text of fewer than `size` words has one n-gram, itself; one of no words has none.
    """
    lists = pc.ascii_split_whitespace(normal)
    offsets = lists.offsets.to_numpy()
    words = pc.dictionary_encode(lists.values)
    spelled = words.dictionary.to_pylist()
    hashes = np.array([xxhash.xxh3_64_intdigest(word.encode()) for word in spelled], np.uint64)
    flat = hashes[words.indices.to_numpy()] if spelled else hashes
    blank = spelled.index("") if "" in spelled else -1  # what splitting an empty text leaves
    sets = []
    for start, end in pairwise(offsets):
        document = flat[start:end]
        if end - start == 1 and words.indices[start].as_py() == blank:
            document = document[:0]
        grams = _rolled(document, min(size, len(document))) if len(document) else document
        sets.append(_distinct(grams))
    return sets


def _distinct(values: np.ndarray) -> np.ndarray:
    """As `np.unique`, which takes four times as long on a few hundred values."""
    ordered = np.sort(values)
    if len(ordered) < 2:
        return ordered
    keep = np.empty(len(ordered), bool)
    keep[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=keep[1:])
    return ordered[keep]


def _rolled(words: np.ndarray, size: int) -> np.ndarray:
    """A hash of each run of `size` words, in which the order of words counts."""
    count = len(words) - size + 1
    result = np.zeros(count, np.uint64)
    for step in range(size):
        result = (result ^ words[step : step + count]) * _MIX
        result ^= result >> np.uint64(29)
    return result


def jaccard(one: np.ndarray, other: np.ndarray) -> float:
    """Jaccard similarity of two sorted arrays without repeats; 0 where one is empty."""
    if not len(one) or not len(other):
        return 0.0
    both = np.concatenate((one, other))
    both.sort(kind="stable")
    shared = int(np.count_nonzero(both[1:] == both[:-1]))
    return shared / (len(one) + len(other) - shared)
