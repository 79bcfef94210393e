"""Hashed word n-grams of texts, as in fastText (Joulin et al. 2017).

Words are those of `data_prep.ngrams.words`. Each n-gram of 1 to `ngram` words falls into one of
`buckets` buckets by its hash; a text is the list of its n-grams' buckets.
"""

import numpy as np
import pyarrow as pa

from data_prep.ngrams.arrays import Hashes, Integers
from data_prep.ngrams.word_passes import hash_words

_BASE = np.uint64(0xD6E8FEB86659FD95)  # odd, so that no bit of the first words is lost


def buckets_of(texts: pa.Array, ngram: int, buckets: int) -> tuple[Integers, Integers]:
    """Return the buckets of the n-grams of each text.

    Args:
        texts: Strings without nulls.
        ngram: Words of the longest n-gram.
        buckets: Number of buckets.

    Returns:
        The buckets, text after text, and offsets into them, (texts + 1,).
    """
    words, ends = hash_words(texts)
    lengths, owner = np.diff(ends), np.repeat(np.arange(len(texts)), np.diff(ends))
    found, owners, hashes = [words], [owner], words
    for extra in range(1, ngram):
        hashes = _longer(hashes, words, extra)
        whole = owner[: len(hashes)] == owner[extra:]  # the n-gram ends in the text it begins in
        found.append(hashes[whole])
        owners.append(owner[: len(hashes)][whole])
    order = np.argsort(np.concatenate(owners), kind="stable")
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(sum(np.maximum(lengths - n, 0) for n in range(ngram)), out=offsets[1:])
    every = np.concatenate(found)[order] % np.uint64(buckets)
    return every.astype(np.int64), offsets


def _longer(hashes: Hashes, words: Hashes, extra: int) -> Hashes:
    """Return the hashes of n-grams that are one word longer; some begin and end in two texts."""
    return hashes[: len(words) - extra] * _BASE + words[extra:]
