"""Word n-gram sets of documents and their Jaccard similarity."""

from itertools import pairwise

import numpy as np
import pyarrow as pa

from data_prep.ngrams.arrays import Hashes
from data_prep.ngrams.word_passes import hash_words

MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio; odd, so multiplying is a bijection


def ngram_sets(texts: pa.Array, size: int) -> list[Hashes]:
    """Return the distinct word n-grams of each text as a sorted array of 64-bit hashes.

    A text of fewer than `size` words has one n-gram, all its words; a text without words has none.
    """
    words, offsets = hash_words(texts)
    sets = []
    for start, end in pairwise(offsets.tolist()):
        document = words[start:end]
        grams = _rolled(document, min(size, len(document))) if len(document) else document
        sets.append(_distinct(grams))
    return sets


def _distinct(values: Hashes) -> Hashes:
    """Like `np.unique`, but four times as fast for a few hundred values."""
    ordered = np.sort(values)
    if len(ordered) < 2:
        return ordered
    keep = np.empty(len(ordered), bool)
    keep[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=keep[1:])
    return ordered[keep]


def _rolled(words: Hashes, size: int) -> Hashes:
    """Hash each run of `size` words; the order of the words counts."""
    count = len(words) - size + 1
    result = np.zeros(count, np.uint64)
    for step in range(size):
        result = (result ^ words[step : step + count]) * MIX
        result ^= result >> np.uint64(29)
    return result


def jaccard(one: Hashes, other: Hashes) -> float:
    """Jaccard similarity of two sorted arrays of distinct values; 0 if one is empty."""
    if not len(one) or not len(other):
        return 0.0
    both = np.concatenate((one, other))
    both.sort(kind="stable")
    shared = int(np.count_nonzero(both[1:] == both[:-1]))
    return shared / (len(one) + len(other) - shared)
