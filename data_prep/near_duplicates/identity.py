"""Identity of rows: those of one id and the same words are the same document.

Different texts under one id are different documents. Their ids are extended by a hash of their
words, as in `7#text-0123456789abcdef`, so that ids are unique whichever files the rows were in. An
id that already ends like this is kept only if the hash is that of its own words, so that an
extended id never equals the id of another text.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from data_prep.ngrams.word_passes import join_words

_MARK = "#text-"
_EXTENDED = _MARK + "[0-9a-f]{16}$"


class Distinct(NamedTuple):
    """Documents without repeats, and the number of ids that were extended."""

    table: pa.Table
    renamed: int


def comparable(texts: pa.Array) -> pa.Array:
    """Return the words of each text, joined by one space; exact copies agree in this.

    A text without words (punctuation, emoji) is only a copy of the very same text.
    """
    words = join_words(texts)
    return pc.if_else(pc.equal(pc.binary_length(words), 0), texts.cast(words.type), words)


def distinct_documents(table: pa.Table) -> Distinct:
    """Drop repeated rows and make the ids of different texts unique.

    Args:
        table: All rows of some ids, sorted by `id`; of equal documents the first row is kept.
    """
    ids = table["id"].to_numpy(zero_copy_only=False)
    same = np.zeros(len(ids) + 1, bool)  # whether a row has the id of the row before it
    same[1:-1] = ids[1:] == ids[:-1]
    starts = np.flatnonzero(~same)[:-1]
    extended = pc.match_substring_regex(table["id"], _EXTENDED).to_numpy()
    # Nearly all rows have an id of their own and need no hash.
    unsure = np.flatnonzero(same[:-1] | same[1:] | extended)
    if not len(unsure):
        return Distinct(table, 0)
    hashes = dict(zip(unsure.tolist(), _hashes(table, unsure), strict=True))
    keep, new = np.ones(len(ids), bool), {}
    for start in np.unique(np.searchsorted(starts, unsure, "right") - 1):
        low = int(starts[start])
        high = int(starts[start + 1]) if start + 1 < len(starts) else len(ids)
        first: dict[str, int] = {}
        for row in range(low, high):
            keep[row] = first.setdefault(hashes[row], row) == row
        shared = len(first) > 1
        for digest, row in first.items():
            ending = _MARK + digest[:16]
            if shared or (extended[row] and not ids[row].endswith(ending)):
                new[row] = ids[row] + ending
    if new:
        renamed = ids.copy()
        renamed[list(new)] = list(new.values())
        at = table.column_names.index("id")
        table = table.set_column(at, "id", pa.array(renamed, pa.string()))
    table = table.filter(pa.array(keep, pa.bool_()))
    return Distinct(table.sort_by("id") if new else table, len(new))


def _hashes(table: pa.Table, rows: np.ndarray) -> list[str]:
    texts = table["text"].take(pa.array(rows)).combine_chunks()
    return [xxhash.xxh3_128_hexdigest(text.encode()) for text in comparable(texts).to_pylist()]
