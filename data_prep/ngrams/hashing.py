"""Text to hashes of its 8-grams, by the GPT-2 paper's normalisation (section 4).

A text is reduced to lower-cased alphanumeric words, one space between two. Alphanumeric means
letters, marks and digits of any script, after NFC. A character of a script that is written
without spaces (Han, kana, Thai, Lao, Khmer, Burmese) is a word of its own, since otherwise a
whole clause would be one. Lower case is `str.lower`'s.

Nothing is joined: a word is hashed where it stands in the text's UTF-8 bytes, and the hash of
eight words is rolled along. Texts with characters whose NFC or lower case depends on their
neighbours are rewritten first; all others pass through the tables below.
"""

import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from data_prep.ngrams.bits import U, mix

NGRAM = 8
NORMALISATION = "nfc-lower-alnum-v2"
"""Names these rules in files that depend on them."""

SEPARATOR, LETTER, ALONE, REWRITE = 0, 1, 2, 3
_CODE_POINTS = 0x110000
_ASSIGNED = (range(0x34000), range(0xE0100, 0xE01F0))  # where letters, marks and digits are
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
_SEED = U(0x9E3779B97F4A7C15)
_BASE = U(0xD6E8FEB86659FD95)  # = 5 modulo 8, so that its powers lie far apart
_OLDEST = U(pow(int(_BASE), NGRAM - 1, 1 << 64))


@dataclass(frozen=True)
class Ngrams:
    """The 8-grams of some texts.

    Attributes:
        hashes: of all 8-grams, text after text, uint64.
        offsets: where each text's 8-grams begin in `hashes`, and the end; int64, (texts + 1,).
        words: hashes of all words, uint64.
        word_offsets: where each text's words begin in `words`, and the end.
    """

    hashes: np.ndarray
    offsets: np.ndarray
    words: np.ndarray
    word_offsets: np.ndarray


@cache
def _tables() -> tuple[np.ndarray, np.ndarray]:
    """By code point: its class, and its lower case as UTF-8 bytes packed into one integer."""
    import regex

    kinds = np.zeros(_CODE_POINTS, np.uint8)
    lower = np.zeros(_CODE_POINTS, np.uint32)
    unspaced = regex.compile(_UNSPACED)
    second = set()
    for code in (code for codes in _ASSIGNED for code in codes if not 0xD800 <= code < 0xE000):
        char = chr(code)
        parts = unicodedata.decomposition(char).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            second.add(int(parts[1], 16))
        small = char.lower()
        if (
            unicodedata.combining(char)
            or not unicodedata.is_normalized("NFC", char)
            or len(small) > 1
            or char == "Σ"  # becomes ς at the end of a word
        ):
            kinds[code] = REWRITE
        elif unicodedata.category(char)[0] in "LMN":
            kinds[code] = ALONE if unspaced.match(char) else LETTER
        if unicodedata.category(char)[0] in "LMN":
            lower[code] = int.from_bytes(small[0].encode(), "little")
    kinds[[*second, *range(0x1161, 0x1176), *range(0x11A8, 0x11C3)]] = REWRITE  # may compose
    return kinds, lower


@cache
def _rewritten_tables() -> tuple[np.ndarray, np.ndarray]:
    """The tables for texts that are rewritten already: nothing asks for it again."""
    import regex

    kinds, lower = _tables()
    kinds = kinds.copy()
    unspaced = regex.compile(_UNSPACED)
    for code in np.flatnonzero(kinds == REWRITE).tolist():
        word = ALONE if unspaced.match(chr(code)) else LETTER
        kinds[code] = word if lower[code] else SEPARATOR
    return kinds, lower


def ngrams(texts: pa.Array) -> Ngrams:
    """Hashes of the words and 8-grams of an Arrow array of strings without nulls."""
    count = len(texts)
    data, offsets = _buffers(texts)
    words = np.empty((int(offsets[-1] - offsets[0]) + count) // 2 + count + 1, np.uint64)
    ends = np.zeros(count + 1, np.int64)
    no_spans, flagged = np.empty((0, 2), np.int64), np.zeros(count, np.bool_)
    _hash_words(data, offsets, *_tables(), words, ends, no_spans, flagged)
    if flagged.any():
        mask = pa.array(flagged)
        anew = pa.array([_rewrite(t) for t in texts.filter(mask).to_pylist()], texts.type)
        data, offsets = _buffers(pc.replace_with_mask(texts, mask, anew))
        words = np.empty((int(offsets[-1]) + count) // 2 + count + 1, np.uint64)
        _hash_words(data, offsets, *_rewritten_tables(), words, ends, no_spans, flagged)
    words = words[: ends[-1]]
    starts = np.zeros(count + 1, np.int64)
    np.cumsum(np.maximum(np.diff(ends) - (NGRAM - 1), 0), out=starts[1:])
    hashes = np.empty(starts[-1], np.uint64)
    _roll(words, ends, hashes)
    return Ngrams(hashes, starts, words, ends)


def spans(text: str) -> tuple[str, np.ndarray]:
    """Where the words of one text stand: the text as bytes are counted, and (words, 2) of them.

    The text comes back rewritten where normalisation needs it; the spans are offsets in its
    UTF-8 bytes.
    """
    flagged, ends = np.zeros(1, np.bool_), np.zeros(2, np.int64)
    for tables in (_tables(), _rewritten_tables()):
        data, offsets = _buffers(pa.array([text]))
        found = np.empty((len(data) + 1, 2), np.int64)
        words = np.empty(len(found), np.uint64)
        flagged[:] = False
        _hash_words(data, offsets, *tables, words, ends, found, flagged)
        if not flagged[0]:
            break
        text = _rewrite(text)
    return text, found[: ends[-1]]


def check_hashes(words: np.ndarray, at: np.ndarray) -> np.ndarray:
    """A second 64-bit hash, of another kind, of the 8-grams that begin at words `at`."""
    result = np.full(len(at), 0x2545F4914F6CDD1D, np.uint64)
    for step in range(NGRAM):
        result = (result ^ words[at + step]) * U(0xFF51AFD7ED558CCD)
        result ^= result >> U(32)
    return result


def _rewrite(text: str) -> str:
    return unicodedata.normalize("NFC", text).lower()


def _buffers(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The UTF-8 bytes of the strings and where each begins, without copying the bytes."""
    wide = texts.cast(pa.large_string())
    _, offsets, data = wide.buffers()
    starts = np.frombuffer(offsets, np.int64)[wide.offset : wide.offset + len(wide) + 1]
    if data is None:
        return np.empty(0, np.uint8), starts
    return np.frombuffer(data, np.uint8), starts


@njit(nogil=True, cache=True)
def _hash_words(  # noqa: PLR0912, PLR0915 - one loop over bytes, compiled
    data: Any, offsets: Any, kinds: Any, lower: Any,
    words: Any, ends: Any, found: Any, flagged: Any,
) -> None:  # fmt: skip
    """Hash the words of all texts into `words`, and flag those that must be rewritten first.

    `ends[i + 1]` becomes the number of words up to the end of text i; `found`, if it has rows,
    the words' spans.
    """
    count = 0
    with_spans = len(found) > 0
    for text in range(len(offsets) - 1):
        at, end = offsets[text], offsets[text + 1]
        state, packed, shift, start = _SEED, U(0), U(0), at
        while at < end:
            begin = at
            code = np.uint32(data[at])
            at += 1
            if code >= 0xF0:
                code = (code & 7) << 18 | (data[at] & 63) << 12
                code |= (data[at + 1] & 63) << 6 | (data[at + 2] & 63)
                at += 3
            elif code >= 0xE0:
                code = (code & 15) << 12 | (data[at] & 63) << 6 | (data[at + 1] & 63)
                at += 2
            elif code >= 0xC0:
                code = (code & 31) << 6 | (data[at] & 63)
                at += 1
            kind = kinds[code]
            if kind == REWRITE:
                flagged[text] = True
                break
            if kind != LETTER and (shift or state != _SEED):  # a word ends here
                words[count] = mix(state ^ packed)
                if with_spans:
                    found[count, 0], found[count, 1] = start, begin
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
                words[count] = mix(state ^ packed)
                if with_spans:
                    found[count, 0], found[count, 1] = start, at
                count += 1
                state, packed, shift = _SEED, U(0), U(0)
        if shift or state != _SEED:
            words[count] = mix(state ^ packed)
            if with_spans:
                found[count, 0], found[count, 1] = start, end
            count += 1
        ends[text + 1] = count


@njit(nogil=True, cache=True)
def _roll(words: Any, ends: Any, hashes: Any) -> None:
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
