"""Keys of documents on disk, and the documents whose keys are equal, in bounded memory.

A file holds uint64 (columns, N): a row for each kind of key, so that one kind is read without the
others. To find equal keys, the range of 64-bit values is divided into equal shares. The keys of one
share, about `SORTED_AT_ONCE`, are read from all files and sorted; keys of different shares differ.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from data_prep.near_duplicates.candidates import equal_values
from data_prep.ngrams.arrays import Flags, Hashes, Integers
from webtext_gpt.files import replaced

SORTED_AT_ONCE = 1 << 21
"""Keys in a share; sorting takes about 60 bytes of memory for each."""


def write_keys(path: Path, keys: Hashes) -> None:
    """Write the keys of some documents, (N, columns)."""
    with replaced(path) as partial, partial.open("wb") as file:
        np.save(file, np.ascontiguousarray(keys.T), allow_pickle=False)


def key_shape(files: Sequence[Path]) -> tuple[int, int]:
    """Return the number of columns and of documents over all files."""
    shapes = [_opened(file).shape for file in files]
    return shapes[0][0], sum(documents for _, documents in shapes)


def equal_keys(
    files: Sequence[Path], columns: Sequence[int], left_out: Flags
) -> Iterator[tuple[Integers, Integers]]:
    """Yield groups of documents whose keys are equal in all given columns.

    Args:
        files: Files of `write_keys`; documents are numbered across all of them.
        columns: Columns to compare. The first one must be spread evenly over 64 bits, as hashes
            are.
        left_out: Documents to leave out, (N,).

    Yields:
        As `equal_values` returns: documents, group after group in the order of their keys, and
        where each group begins, with the end.
    """
    shares = max(-(-len(left_out) // SORTED_AT_ONCE), 1)
    bounds = [(number << 64) // shares for number in range(1, shares)]
    for low, high in zip([0, *bounds], [*bounds, 1 << 64], strict=True):
        documents, keys = _share(files, columns, left_out, low, high)
        members, starts = equal_values(keys[:, 0] if len(columns) == 1 else keys)
        yield documents[members], starts


def _share(
    files: Sequence[Path], columns: Sequence[int], left_out: Flags, low: int, high: int
) -> tuple[Integers, Hashes]:
    """Return the documents with `low <= key < high` in the first column, and their keys (n, k)."""
    documents, keys, start = [], [], 0
    for file in files:
        stored = _opened(file)  # unmapped after this turn: mapped pages count as memory
        first = stored[columns[0]]
        wanted = (first >= np.uint64(low)) & (first <= np.uint64(high - 1))
        wanted &= ~left_out[start : start + len(first)]
        inside = np.flatnonzero(wanted)
        documents.append(start + inside)
        keys.append(np.stack([stored[column][inside] for column in columns], axis=1))
        start += len(first)
    return np.concatenate(documents), np.concatenate(keys)


def _opened(file: Path) -> Hashes:
    stored: Hashes = np.load(file, mmap_mode="r", allow_pickle=False)
    return stored
