"""Hashes of the 8-grams of texts: the hash of eight words is rolled along the words' hashes."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numba import njit

from data_prep.ngrams.arrays import Hashes, Integers
from data_prep.ngrams.bits import U, mix
from data_prep.ngrams.word_passes import hash_words

NGRAM = 8
"""Words of an n-gram (the GPT-2 paper, section 4)."""

_BASE = U(0xD6E8FEB86659FD95)  # 5 modulo 8, so that its powers have the longest period
_OLDEST = U(pow(int(_BASE), NGRAM - 1, 1 << 64))


@dataclass(frozen=True)
class Ngrams:
    """The 8-grams of some texts.

    Attributes:
        hashes: Hashes of all 8-grams, text after text.
        offsets: Where each text's 8-grams begin in `hashes`, and the end, (texts + 1,).
        words: Hashes of all words.
        word_offsets: Where each text's words begin in `words`, and the end, (texts + 1,).
    """

    hashes: Hashes
    offsets: Integers
    words: Hashes
    word_offsets: Integers


def ngrams(texts: pa.Array) -> Ngrams:
    """Hash the words and 8-grams of an Arrow array of strings without nulls."""
    words, ends = hash_words(texts)
    starts = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(np.maximum(np.diff(ends) - (NGRAM - 1), 0), out=starts[1:])
    hashes = np.empty(starts[-1], np.uint64)
    _roll(words, ends, hashes)
    return Ngrams(hashes, starts, words, ends)


def check_hashes(words: Hashes, at: Integers) -> Hashes:
    """Return a second, independent 64-bit hash of the 8-grams that begin at words `at`."""
    result = np.full(len(at), 0x2545F4914F6CDD1D, np.uint64)
    for step in range(NGRAM):
        result = (result ^ words[at + step]) * U(0xFF51AFD7ED558CCD)
        result ^= result >> U(32)
    return result


@njit(nogil=True, cache=True)
def _roll(words: Hashes, ends: Integers, hashes: Hashes) -> None:
    """Hash each run of eight words of a text: a polynomial modulo 2^64, then mixed."""
    out = 0
    for text in range(len(ends) - 1):
        rolled = U(0)
        first = ends[text]
        for at in range(first, ends[text + 1]):
            if at - first >= NGRAM:
                rolled -= words[at - NGRAM] * _OLDEST
            rolled = rolled * _BASE + words[at]
            if at - first >= NGRAM - 1:
                hashes[out] = mix(rolled)
                out += 1
