"""The ids of `Tokenizer.encode_batch` by compiled loops, several times as fast on a core.

Text is cut as GPT-2's expression cuts it, by a table of character classes that is asked of
`tokenizers` itself, so that both know the same Unicode. Pieces that came before are looked up;
others are merged, the earliest merge first and of equal ones the leftmost. A tokenizer of another
kind, and a text with a piece of over 256 bytes, go the slow way.
"""

import json
from functools import cache
from typing import Any

import numpy as np
from numba import njit
from tokenizers import Regex, pre_tokenizers

from webtext_gpt.errors import UserError
from webtext_gpt.tokenizer import END_OF_TEXT, GPT2_PATTERN, Tokenizer

U = np.uint64  # shifts and products of other integers would be signed, or floats
OTHER, LETTER, NUMBER, SPACE = 0, 1, 2, 3
LONGEST_PIECE = 256  # bytes; merging takes time that grows with the square
CACHE_BITS = 18  # pieces remembered: one for each value of so many bits of their hash
CACHED_IDS = 8
_CODE_POINTS = 0x110000
_LETTERS_END = 0x34000  # no letter, number or space is beyond the third plane


class FastEncoder:
    """Encodes as a tokenizer does, on one core.

    Args:
        tokenizer: of any kind; byte-level BPE with GPT-2's expression is the fast one.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        model = _gpt2_like(tokenizer)
        self.is_fast = model is not None
        if model is None:
            return
        vocab: dict[str, int] = model["vocab"]
        stand_ins = _byte_alphabet()
        self._bytes = np.array([vocab[stand_ins[byte]] for byte in range(256)], np.uint32)
        pairs = [(vocab[a], vocab[b], vocab[a + b]) for a, b in model["merges"]]
        self._merges = _merge_table(np.array(pairs, np.uint64).reshape(-1, 3))
        self._classes = _character_classes()
        self._keys = np.zeros(1 << CACHE_BITS, np.uint64)
        self._known = np.zeros((1 << CACHE_BITS, CACHED_IDS + 1), np.uint32)

    def encode_batch(self, texts: list[str]) -> list[np.ndarray]:
        """Token ids of each text, uint32.

        Raises:
            UserError: a text that `tokenizer.encode_batch` refuses.
        """
        if not self.is_fast:
            return self._tokenizer.encode_batch(texts)
        try:
            data = [text.encode() for text in texts]
        except UnicodeEncodeError as error:
            raise UserError(
                f"character {error.start} is half of a surrogate pair and has no UTF-8 bytes"
            ) from error
        ends = np.zeros(len(data) + 1, np.int64)
        np.cumsum([len(d) for d in data], out=ends[1:])
        joined = np.frombuffer(b"".join(data), np.uint8)
        ids, stops = np.empty(ends[-1], np.uint32), np.empty(len(data), np.int64)
        _encode(
            joined, ends, self._classes, self._bytes, *self._merges, self._keys, self._known,
            ids, stops,
        )  # fmt: skip
        return [
            ids[ends[at] : stops[at]] if stops[at] >= 0 else self._tokenizer.encode_batch([text])[0]
            for at, text in enumerate(texts)
        ]


def _gpt2_like(tokenizer: Tokenizer) -> dict[str, Any] | None:
    """The BPE model of a tokenizer that cuts as GPT-2's; None of any other kind."""
    plain = json.loads(tokenizer.to_json())
    model = plain["model"]
    usual = (
        model["type"] == "BPE"
        and plain["normalizer"] is None
        and not any(model.get(k) for k in ("dropout", "ignore_merges", "byte_fallback"))
        and not (model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"))
        and plain["truncation"] is None
        and plain["padding"] is None
        and [(t["content"], t["special"]) for t in plain["added_tokens"]] == [(END_OF_TEXT, True)]
        and _cuts_as_gpt2(plain["pre_tokenizer"] or {})
        and all(token in model["vocab"] for token in _byte_alphabet())
    )
    return dict(model) if usual else None


def _cuts_as_gpt2(cuts: dict[str, Any]) -> bool:
    """Whether a pre-tokenizer is GPT-2's expression: `ByteLevel` alone has it built in."""
    if cuts.get("type") == "ByteLevel":
        return bool(cuts["use_regex"] and not cuts["add_prefix_space"])
    steps = cuts.get("pretokenizers", [])
    if [step["type"] for step in steps] != ["Split", "ByteLevel"]:
        return False
    split, level = steps
    return bool(
        split["pattern"] == {"Regex": GPT2_PATTERN}
        and split["behavior"] == "Isolated"
        and not split["invert"]
        and not level["add_prefix_space"]
        and not level["use_regex"]
    )


def _byte_alphabet() -> list[str]:
    """GPT-2's printable stand-in of each byte."""
    shown = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in shown]
    return [chr(b) if b in shown else chr(256 + hidden.index(b)) for b in range(256)]


@cache
def _character_classes() -> np.ndarray:
    """The class of each code point, as the expressions of `tokenizers` see it."""
    classes = np.zeros(_CODE_POINTS, np.uint8)
    points = [c for c in range(_LETTERS_END) if not 0xD800 <= c < 0xE000]
    text = "".join(map(chr, points))
    at = np.array(points)
    for name, pattern in ((LETTER, r"\p{L}+"), (NUMBER, r"\p{N}+"), (SPACE, r"\s+")):
        # What is removed is what matched: the rest comes back with its offsets.
        left = pre_tokenizers.Split(Regex(pattern), "removed").pre_tokenize_str(text)
        matched = np.ones(len(points), np.bool_)
        for _, (start, end) in left:
            matched[start:end] = False
        classes[at[matched]] = name
    return classes


def _merge_table(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Open addressing from a pair of ids to its rank and the id that it becomes."""
    slots = 1 << max(8, (4 * len(pairs)).bit_length())
    keys, values = np.full(slots, 2**64 - 1, np.uint64), np.zeros((slots, 2), np.uint32)
    _fill(pairs, keys, values)
    return keys, values


@njit(inline="always", cache=True)
def _mix(x: Any) -> Any:
    x = (x ^ (x >> U(32))) * U(0xD6E8FEB86659FD93)
    x = (x ^ (x >> U(32))) * U(0xD6E8FEB86659FD93)
    return x ^ (x >> U(32))


@njit(cache=True)
def _fill(pairs: Any, keys: Any, values: Any) -> None:
    mask = len(keys) - 1
    for rank in range(len(pairs)):
        key = pairs[rank, 0] << U(32) | pairs[rank, 1]
        slot = np.int64(_mix(key) & U(mask))
        while keys[slot] != U(0xFFFFFFFFFFFFFFFF):
            slot = (slot + 1) & mask
        keys[slot] = key
        values[slot, 0], values[slot, 1] = rank, pairs[rank, 2]


@njit(inline="always", cache=True)
def _slot_of(keys: Any, one: Any, other: Any) -> Any:
    """Where a pair stands in the table, or -1."""
    key = U(one) << U(32) | U(other)
    mask = len(keys) - 1
    slot = np.int64(_mix(key) & U(mask))
    while keys[slot] != key:
        if keys[slot] == U(0xFFFFFFFFFFFFFFFF):
            return -1
        slot = (slot + 1) & mask
    return slot


@njit(inline="always", cache=True)
def _character(data: Any, at: int, end: int) -> Any:
    """The code point at a byte, and where the next one begins."""
    code = np.int64(data[at])
    if code < 0x80:
        return code, at + 1
    if code < 0xE0:
        return (code & 31) << 6 | (data[at + 1] & 63), at + 2
    if code < 0xF0:
        return (code & 15) << 12 | (data[at + 1] & 63) << 6 | (data[at + 2] & 63), at + 3
    high = (code & 7) << 18 | (data[at + 1] & 63) << 12
    return high | (data[at + 2] & 63) << 6 | (data[at + 3] & 63), at + 4


@njit(cache=True)
def _contraction(data: Any, at: int, end: int) -> Any:
    """Bytes of a contraction that begins at an apostrophe, or 0."""
    if at + 1 < end:
        one = data[at + 1]
        if one in (ord("s"), ord("t"), ord("m"), ord("d")):
            return 2
        if at + 2 < end:
            two = data[at + 2]
            if (one == ord("l") and two == ord("l")) or (
                two == ord("e") and one in (ord("r"), ord("v"))
            ):
                return 3
    return 0


@njit(cache=True)
def _piece_end(data: Any, at: int, end: int, classes: Any) -> Any:
    """Where the piece that begins at a byte ends, by GPT-2's expression, read left to right."""
    if data[at] == ord("'"):
        length = _contraction(data, at, end)
        if length:
            return at + length
    code, after = _character(data, at, end)
    kind = classes[code]
    if code == 32 and after < end:  # a space may lead
        code, following = _character(data, after, end)
        if classes[code] != SPACE:
            kind, after = classes[code], following
    last = at
    while after < end:
        code, following = _character(data, after, end)
        if classes[code] != kind:
            # The last of several spaces belongs to what follows.
            return last if kind == SPACE and last > at else after
        last, after = after, following
    return after


@njit(cache=True)
def _merge(data: Any, at: int, stop: int, bytes_: Any, keys: Any, values: Any, parts: Any) -> Any:
    """Merge the bytes of a piece into `parts`; how many are left."""
    count = stop - at
    for number in range(count):
        parts[number] = bytes_[data[at + number]]
    while count > 1:
        best, place, becomes = np.int64(1 << 40), -1, np.uint32(0)
        for number in range(count - 1):
            slot = _slot_of(keys, parts[number], parts[number + 1])
            if slot >= 0 and values[slot, 0] < best:
                best, place, becomes = np.int64(values[slot, 0]), number, values[slot, 1]
        if place < 0:
            break
        parts[place] = becomes
        count -= 1
        for number in range(place + 1, count):
            parts[number] = parts[number + 1]
    return count


@njit(nogil=True, cache=True)
def _encode(
    data: Any, ends: Any, classes: Any, bytes_: Any, keys: Any, values: Any,
    known_keys: Any, known: Any, ids: Any, stops: Any,
) -> None:  # fmt: skip
    """Ids of each text from where its bytes begin; `stops` says where they end, or -1: too long."""
    parts = np.empty(LONGEST_PIECE, np.uint32)
    for text in range(len(ends) - 1):
        at, end, out = ends[text], ends[text + 1], ends[text]
        while at < end:
            stop = _piece_end(data, at, end, classes)
            if stop - at > LONGEST_PIECE:
                out = -1
                break
            # Eight bytes at a time; a piece of up to eight is told by its own bytes and length.
            state = U(stop - at)
            for start in range(at, stop, 8):
                packed = U(0)
                for number in range(start, min(start + 8, stop)):
                    packed = packed << U(8) | U(data[number])
                state = _mix(state * U(0x9E3779B97F4A7C15) ^ packed)
            slot = state >> U(64 - CACHE_BITS)
            if known_keys[slot] == state and known[slot, 0]:
                count = np.int64(known[slot, 0])
                for number in range(count):
                    ids[out + number] = known[slot, number + 1]
            else:
                count = _merge(data, at, stop, bytes_, keys, values, parts)
                for number in range(count):
                    ids[out + number] = parts[number]
                if count <= CACHED_IDS:
                    known_keys[slot], known[slot, 0] = state, count
                    for number in range(count):
                        known[slot, number + 1] = parts[number]
            out += count
            at = stop
        stops[text] = out
