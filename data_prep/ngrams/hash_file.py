"""8-gram hashes of one training file on disk, until the size of the filter is known.

The number of distinct 8-grams of all files decides that size, and is known only when all have been
read. Storing the hashes (8 bytes for each 8-gram) is cheaper than reading the texts again. The
registers of the distinct count follow the hashes.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import numpy as np

from data_prep.ngrams.arrays import Bytes, Hashes
from data_prep.ngrams.distinct import no_registers, register
from webtext_gpt.files import replaced

_CHUNK = 1 << 20
"""Hashes that are read at once."""


class HashWriter:
    """Writer of one file, as a context manager: the file appears when the block ends.

    Args:
        path: The file. None means to write none.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._registers = no_registers()
        self._stack = ExitStack()
        self._file: IO[bytes] | None = None

    def __enter__(self) -> "HashWriter":
        if self._path is not None:
            partial = self._stack.enter_context(replaced(self._path))
            self._file = self._stack.enter_context(partial.open("wb"))
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if self._file is not None and kind is None:
            self._registers.tofile(self._file)
        self._stack.__exit__(kind, *error)  # type: ignore[arg-type]

    def add(self, hashes: Hashes) -> None:
        """Append hashes."""
        assert self._file is not None  # noqa: S101 - inside the block
        register(self._registers, hashes)
        hashes.tofile(self._file)


def read_registers(path: Path) -> Bytes:
    """Return the registers at the end of a file."""
    size = len(no_registers())
    return np.fromfile(path, np.uint8, offset=path.stat().st_size - size)


def read_hashes(path: Path) -> Iterator[Hashes]:
    """Yield the hashes of a file, about a million at a time."""
    left = (path.stat().st_size - len(no_registers())) // 8
    with path.open("rb") as file:
        while left:
            hashes = np.fromfile(file, np.uint64, min(left, _CHUNK))
            left -= len(hashes)
            yield hashes
