"""Words of texts, hashed, joined or located in one compiled pass over their UTF-8 bytes.

Words never become Python strings. Texts that must be rewritten first are flagged in the first pass
and read again in a second one; nearly all corpora need only the first.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from data_prep.ngrams.arrays import Bytes, Flags, Hashes, Integers
from data_prep.ngrams.bits import U, mix
from data_prep.ngrams.words import (
    ALONE,
    LETTER,
    REWRITE,
    SEPARATOR,
    Classes,
    Lower,
    rewrite,
    rewritten_tables,
    tables,
)

_SEED = U(0x9E3779B97F4A7C15)
_SPACE = 32


class _Pass(NamedTuple):
    """Arguments of a compiled pass.

    Attributes:
        data: UTF-8 bytes of all texts.
        offsets: Where each text begins in `data`, and the end, (texts + 1,).
        kinds: Class of each code point; see `words.tables`.
        lower: Lower case of each code point; see `words.tables`.
        flagged: Receives which texts must be rewritten first, (texts,).
    """

    data: Bytes
    offsets: Integers
    kinds: Classes
    lower: Lower
    flagged: Flags

    def most_words(self) -> int:
        """Return an upper bound on the words: a word of one byte is followed by a separator."""
        texts = len(self.flagged)
        return (int(self.offsets[-1] - self.offsets[0]) + texts) // 2 + texts + 1


def hash_words(texts: pa.Array) -> tuple[Hashes, Integers]:
    """Return a 64-bit hash of every word, and where each text's words begin.

    Args:
        texts: Strings without nulls.

    Returns:
        The hashes, text after text, and offsets into them, (texts + 1,).
    """
    ends, no_spans = np.zeros(len(texts) + 1, np.int64), np.empty((0, 2), np.int64)
    for one in _passes(texts):
        hashes = np.empty(one.most_words(), np.uint64)
        _hash_words(*one, hashes, ends, no_spans)
    return hashes[: ends[-1]], ends


def join_words(texts: pa.Array) -> pa.Array:
    """Return the words of each text, joined by one space.

    Args:
        texts: Strings without nulls.
    """
    ends = np.zeros(len(texts) + 1, np.int64)
    for one in _passes(texts):
        # A character adds at most a space and one byte, so a text doubles at most.
        joined = np.empty(2 * int(one.offsets[-1] - one.offsets[0]), np.uint8)
        _join_words(*one, joined, ends)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(joined[: ends[-1]])]
    return pa.Array.from_buffers(pa.large_string(), len(texts), buffers)


def word_spans(text: str) -> tuple[str, Integers]:
    """Locate the words of one text.

    Returns:
        The text, rewritten if NFC or lower case requires it, and where in its UTF-8 bytes each
        word begins and ends, (words, 2).
    """
    ends = np.zeros(2, np.int64)
    for one in _passes(pa.array([text])):
        spans = np.empty((one.most_words(), 2), np.int64)
        _hash_words(*one, np.empty(len(spans), np.uint64), ends, spans)
    return one.data.tobytes().decode(), spans[: ends[-1]]


def _passes(texts: pa.Array) -> Iterator[_Pass]:
    """Yield the texts; if some are flagged, yield all of them again with those rewritten."""
    flagged = np.zeros(len(texts), np.bool_)
    yield _Pass(*_buffers(texts), *tables(), flagged)
    if flagged.any():
        mask = pa.array(flagged)
        rewritten = [rewrite(text) for text in texts.filter(mask).to_pylist()]
        texts = pc.replace_with_mask(texts, mask, pa.array(rewritten, texts.type))
        yield _Pass(*_buffers(texts), *rewritten_tables(), flagged)


def _buffers(texts: pa.Array) -> tuple[Bytes, Integers]:
    """Return the UTF-8 bytes of the strings and where each begins, without copying the bytes."""
    wide = texts.cast(pa.large_string())
    _, offsets, data = wide.buffers()
    starts = np.frombuffer(offsets, np.int64)[wide.offset : wide.offset + len(wide) + 1]
    if data is None:
        return np.empty(0, np.uint8), starts
    return np.frombuffer(data, np.uint8), starts


@njit(inline="always", cache=True)
def _decode(data: Bytes, at: np.int64) -> tuple[np.uint32, np.int64]:
    """Decode the character that begins at byte `at`; return its code point and where it ends."""
    code = np.uint32(data[at])
    if code < 0x80:
        return code, at + 1
    if code >= 0xF0:
        code = (code & 7) << 18 | (data[at + 1] & 63) << 12
        code |= (data[at + 2] & 63) << 6 | (data[at + 3] & 63)
        return code, at + 4
    if code >= 0xE0:
        code = (code & 15) << 12 | (data[at + 1] & 63) << 6 | (data[at + 2] & 63)
        return code, at + 3
    return (code & 31) << 6 | (data[at + 1] & 63), at + 2


@njit(nogil=True, cache=True)
def _hash_words(  # noqa: PLR0912 - one loop over bytes, compiled
    data: Bytes, offsets: Integers, kinds: Classes, lower: Lower,
    flagged: Flags, hashes: Hashes, ends: Integers, spans: Integers,
) -> None:  # fmt: skip
    """Hash the words of all texts into `hashes`; flag the texts that must be rewritten first.

    `ends[i + 1]` becomes the number of words up to the end of text i. If `spans` has rows, it
    receives the words' first and last byte.
    """
    count = 0
    with_spans = len(spans) > 0
    for text in range(len(offsets) - 1):
        at, end = offsets[text], offsets[text + 1]
        state, packed, shift, start = _SEED, U(0), U(0), at
        while at < end:
            begin = at
            code, at = _decode(data, at)
            kind = kinds[code]
            if kind == REWRITE:
                flagged[text] = True
                break
            if kind != LETTER and (shift or state != _SEED):  # a word ends here
                hashes[count] = mix(state ^ packed)
                if with_spans:
                    spans[count, 0], spans[count, 1] = start, begin
                count += 1
                state, packed, shift = _SEED, U(0), U(0)
            if kind == SEPARATOR:
                continue
            if shift == 0 and state == _SEED:
                start = begin
            small = lower[code]
            while small:
                packed |= U(small & 255) << shift
                small >>= 8
                shift += U(8)
                if shift == 64:
                    state, packed, shift = mix(state ^ packed), U(0), U(0)
            if kind == ALONE:
                hashes[count] = mix(state ^ packed)
                if with_spans:
                    spans[count, 0], spans[count, 1] = start, at
                count += 1
                state, packed, shift = _SEED, U(0), U(0)
        if shift or state != _SEED:
            hashes[count] = mix(state ^ packed)
            if with_spans:
                spans[count, 0], spans[count, 1] = start, end
            count += 1
        ends[text + 1] = count


@njit(nogil=True, cache=True)
def _join_words(
    data: Bytes, offsets: Integers, kinds: Classes, lower: Lower,
    flagged: Flags, joined: Bytes, ends: Integers,
) -> None:  # fmt: skip
    """Write the words of all texts into `joined`; flag the texts that must be rewritten first.

    `ends[i + 1]` becomes the end of text i in `joined`.
    """
    size = 0
    for text in range(len(offsets) - 1):
        at, end, first = offsets[text], offsets[text + 1], size
        inside = False  # whether the next letter continues a word
        while at < end:
            code, at = _decode(data, at)
            kind = kinds[code]
            if kind == REWRITE:
                flagged[text] = True
                break
            if kind == SEPARATOR:
                inside = False
                continue
            if size > first and not (inside and kind == LETTER):
                joined[size] = _SPACE
                size += 1
            small = lower[code]
            while small:
                joined[size] = small & 255
                small >>= 8
                size += 1
            inside = kind == LETTER
        ends[text + 1] = size
