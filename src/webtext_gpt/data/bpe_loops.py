"""Byte-level BPE with GPT-2's pre-tokenization, as numba loops over UTF-8 bytes.

Text is split into pieces as GPT-2's pattern splits it, from a table of character classes. A piece
of at most `SHORT` bytes is looked up, byte by byte, in a cache of recent pieces. On a miss, and for
longer pieces, the bytes are merged, lowest rank first and leftmost among equals: a short piece by
trying all pairs, a long one of n bytes with a heap, in time n log n.
"""

from heapq import heapify, heappop, heappush

import numpy as np
import numpy.typing as npt
from numba import njit

from webtext_gpt.characters import SPACE

Bytes = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.uint32]
Offsets = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Slots = npt.NDArray[np.uint64]
Int = int | np.int64

U = np.uint64  # numba's operations on mixed integer types would give signed integers or floats
SHORT = 31  # bytes; with the length, four words of 64 bits hold such a piece
CACHE_BITS = 18  # the cache has one slot for each value of this many bits of a piece's hash
CACHED_IDS = 8  # pieces of more ids are not cached
_COUNT = 61  # bit at which the number of ids, less one, begins in a slot's fourth word
_LENGTH = 56  # bit at which the piece's length in bytes begins there
_EMPTY = 2**64 - 1  # key of an empty slot


def merge_table(merges: Hashes) -> tuple[Hashes, Ids]:
    """Return an open-addressing hash table of BPE merges, as its keys and its values.

    Args:
        merges: `(n, 3)` left id, right id and merged id, in order of rank.

    Returns:
        `(slots,)` keys, each a pair of ids in one integer, and `(slots, 2)` values, each the rank
        and the merged id.
    """
    slots = 1 << max(8, (4 * len(merges)).bit_length())
    keys, values = np.full(slots, _EMPTY, np.uint64), np.zeros((slots, 2), np.uint32)
    _fill(merges, keys, values)
    return keys, values


def empty_cache() -> Slots:
    """Return a cache of pieces for `encode_texts`, of 16 MB; a thread needs its own."""
    return np.zeros((1 << CACHE_BITS, 8), np.uint64)


@njit(inline="always", cache=True)
def _mix(x: np.uint64) -> np.uint64:
    """Hash 64 bits to 64 bits."""
    x = (x ^ (x >> U(32))) * U(0xD6E8FEB86659FD93)
    x = (x ^ (x >> U(32))) * U(0xD6E8FEB86659FD93)
    return x ^ (x >> U(32))


@njit(cache=True)
def _fill(merges: Hashes, keys: Hashes, values: Ids) -> None:
    mask = len(keys) - 1
    for rank in range(len(merges)):
        key = merges[rank, 0] << U(32) | merges[rank, 1]
        slot = np.int64(_mix(key) & U(mask))
        while keys[slot] != U(_EMPTY):
            slot = (slot + 1) & mask
        keys[slot] = key
        values[slot, 0], values[slot, 1] = rank, merges[rank, 2]


@njit(inline="always", cache=True)
def _find_merge(keys: Hashes, left: Int, right: Int) -> Int:
    """Return the slot of a pair of ids in the merge table, or -1."""
    key = U(left) << U(32) | U(right)
    mask = len(keys) - 1
    slot = np.int64(_mix(key) & U(mask))
    while keys[slot] != key:
        if keys[slot] == U(_EMPTY):
            return -1
        slot = (slot + 1) & mask
    return slot


@njit(inline="always", cache=True)
def _character(data: Bytes, at: Int) -> tuple[Int, Int]:
    """Return the code point that begins at byte `at`, and the offset of the next one."""
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
def _contraction(data: Bytes, at: Int, end: Int) -> Int:
    """Return the length in bytes of the contraction at the apostrophe at `at`, or 0."""
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
def _piece_end(data: Bytes, at: Int, end: Int, classes: Bytes) -> Int:
    """Return the end of the piece that begins at byte `at`, by GPT-2's pattern."""
    if data[at] == ord("'"):
        length = _contraction(data, at, end)
        if length:
            return at + length
    code, after = _character(data, at)
    kind = classes[code]
    if code == 32 and after < end:  # one space may lead a piece of another class
        code, following = _character(data, after)
        if classes[code] != SPACE:
            kind, after = classes[code], following
    last = at
    while after < end:
        code, following = _character(data, after)
        if classes[code] != kind:
            # The last of several spaces goes to the next piece.
            return last if kind == SPACE and last > at else after
        last, after = after, following
    return after


@njit(cache=True)
def _merge(
    data: Bytes, at: Int, stop: Int, byte_ids: Ids, keys: Hashes, values: Ids, parts: Ids
) -> Int:
    """Write the ids of a piece to `parts` and return their number; quadratic in its length."""
    count = stop - at
    for number in range(count):
        parts[number] = byte_ids[data[at + number]]
    while count > 1:
        best, place, merged = np.int64(1 << 40), -1, np.uint32(0)
        for number in range(count - 1):
            slot = _find_merge(keys, parts[number], parts[number + 1])
            if slot >= 0 and values[slot, 0] < best:
                best, place, merged = np.int64(values[slot, 0]), number, values[slot, 1]
        if place < 0:
            break
        parts[place] = merged
        count -= 1
        for number in range(place + 1, count):
            parts[number] = parts[number + 1]
    return count


@njit(cache=True)
def _merge_long(
    data: Bytes, at: Int, stop: Int, byte_ids: Ids, keys: Hashes, values: Ids, parts: Ids
) -> Int:
    """Write the ids of a piece to `parts` and return their number, in time n log n.

    The parts are a linked list. The heap holds rank and position of each pair that can be merged,
    in one integer. An entry is stale if its part is gone, or has another right neighbor by now.
    """
    length = stop - at
    right, left = np.arange(1, length + 1), np.arange(-1, length - 1)  # -1: the part is gone
    heap = [U(0) for _ in range(0)]  # numba infers the type of the elements
    for number in range(length):
        parts[number] = byte_ids[data[at + number]]
    for number in range(length - 1):
        slot = _find_merge(keys, parts[number], parts[number + 1])
        if slot >= 0:
            heap.append(U(values[slot, 0]) << U(32) | U(number))
    heapify(heap)
    while len(heap) > 0:
        top = heappop(heap)
        here = np.int64(top & U(0xFFFFFFFF))
        following = right[here]
        if following < 0 or following == length:
            continue
        slot = _find_merge(keys, parts[here], parts[following])
        if slot < 0 or U(values[slot, 0]) != top >> U(32):
            continue
        parts[here] = values[slot, 1]
        after = right[following]
        right[here], right[following] = after, -1
        if after < length:
            left[after] = here
            slot = _find_merge(keys, parts[here], parts[after])
            if slot >= 0:
                heappush(heap, U(values[slot, 0]) << U(32) | U(here))
        before = left[here]
        if before >= 0:
            slot = _find_merge(keys, parts[before], parts[here])
            if slot >= 0:
                heappush(heap, U(values[slot, 0]) << U(32) | U(before))
    count = here = np.int64(0)
    while here < length:
        parts[count] = parts[here]
        count += 1
        here = right[here]
    return count


@njit(inline="always", cache=True)
def _packed(data: Bytes, at: Int, stop: Int) -> np.uint64:
    """Return up to eight bytes in one integer."""
    word = U(0)
    for number in range(at, min(at + 8, stop)):
        word = word << U(8) | U(data[number])
    return word


@njit(nogil=True, cache=True)
def encode_texts(
    data: Bytes, starts: Offsets, classes: Bytes, byte_ids: Ids, merge_keys: Hashes,
    merge_values: Ids, cache: Slots, ids: Ids, stops: Offsets,
) -> None:  # fmt: skip
    """Encode texts that are joined in one array of bytes.

    Args:
        data: UTF-8 bytes of all texts.
        starts: `(n + 1,)` byte offset of each text, then the number of bytes.
        classes: class of each code point.
        byte_ids: `(256,)` token id of each byte.
        merge_keys: keys of `merge_table`.
        merge_values: values of `merge_table`.
        cache: `(2^CACHE_BITS, 8)` from `empty_cache`; updated. Four words hold the bytes of a
            piece, its length and its number of ids, and four hold the ids.
        ids: receives the ids of text i from `starts[i]` on.
        stops: receives the end of the ids of each text.
    """
    parts = np.empty(SHORT, np.uint32)
    count_mask = (U(1) << U(_COUNT)) - U(1)
    for text in range(len(starts) - 1):
        at, end, out = starts[text], starts[text + 1], starts[text]
        while at < end:
            stop = _piece_end(data, at, end, classes)
            length = stop - at
            if length > SHORT:
                out += _merge_long(
                    data, at, stop, byte_ids, merge_keys, merge_values, ids[out : out + length]
                )
                at = stop
                continue
            zero, one = _packed(data, at, stop), _packed(data, at + 8, stop)
            two, three = _packed(data, at + 16, stop), _packed(data, at + 24, stop)
            three |= U(length) << U(_LENGTH)
            state = _mix(three ^ zero * U(0x9E3779B97F4A7C15))
            if length > 8:
                state = _mix(state ^ one * U(0x9E3779B97F4A7C15))
                state = _mix(state ^ two * U(0x9E3779B97F4A7C15))
            slot = cache[np.int64(state >> U(64 - CACHE_BITS))]
            if (
                slot[3] & count_mask == three
                and slot[0] == zero
                and slot[1] == one
                and slot[2] == two
            ):
                count = np.int64(slot[3] >> U(_COUNT)) + 1
                for number in range(count):
                    ids[out + number] = np.uint32(slot[4 + (number >> 1)] >> U(32 * (number & 1)))
            else:
                count = _merge(data, at, stop, byte_ids, merge_keys, merge_values, parts)
                for number in range(count):
                    ids[out + number] = parts[number]
                if count <= CACHED_IDS:
                    slot[0], slot[1], slot[2] = zero, one, two
                    slot[3] = three | U(count - 1) << U(_COUNT)
                    for number in range(4, 8):
                        slot[number] = U(0)
                    for number in range(count):
                        slot[4 + (number >> 1)] |= U(parts[number]) << U(32 * (number & 1))
            out += count
            at = stop
        stops[text] = out
