"""What a crawl has done so far: one line for each URL settled, and the archives behind it.

A page is appended to the archive first, then its line, with the archive's new length, to the
journal. After a crash both are cut back to the last whole line: a page counts as fetched with
its line and not before, and an archive holds no page twice.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np


class Journal:
    """Append-only record of a crawl in a folder; survives a kill at any moment."""

    def __init__(self, folder: Path, journal: Path, archive_bytes: int) -> None:
        self._folder, self._path, self._archive_bytes = folder, journal, archive_bytes
        self._number, length, self.settled = self._recover()
        self._lines: IO[bytes] = journal.open("ab")
        self._archive: IO[bytes] = self._archive_path().open("ab")
        self._archive.truncate(length)
        for later in folder.glob("pages-*.warc.gz"):
            if later.name > self._archive_path().name:
                later.unlink()

    def _archive_path(self) -> Path:
        return self._folder / f"pages-{self._number:05d}.warc.gz"

    def _recover(self) -> tuple[int, int, np.ndarray]:
        """Cut off a torn last line; the archive in use, its length, and the settled ids."""
        number = length = whole = 0
        ids: list[int] = []
        if self._path.exists():
            with self._path.open("rb") as file:
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    entry = json.loads(line)
                    number, length = entry["archive"], entry["length"]
                    ids.append(int(entry["id"][:16], 16))
                    whole += len(line)
            os.truncate(self._path, whole)
        return number, length, np.unique(np.array(ids, np.uint64))

    def is_settled(self, ids: list[str]) -> np.ndarray:
        """Which of some ids an earlier run settled: (N,) bool."""
        keys = np.array([int(name[:16], 16) for name in ids], np.uint64)
        return np.isin(keys, self.settled)

    def settle(self, entry: dict[str, Any], records: bytes = b"") -> None:
        """Append a page's WARC records, whole gzip members, and then the URL's line."""
        if records:
            if self._archive.tell() >= self._archive_bytes:
                self._archive.close()
                self._number += 1
                self._archive = self._archive_path().open("ab")
            self._archive.write(records)
            self._archive.flush()
        line = {**entry, "archive": self._number, "length": self._archive.tell()}
        self._lines.write(json.dumps(line).encode() + b"\n")
        self._lines.flush()

    def close(self) -> None:
        """Close the files."""
        self._lines.close()
        self._archive.close()

    def entries(self) -> Iterator[dict[str, Any]]:
        """All lines, in the order in which URLs were settled."""
        with self._path.open("rb") as file:
            for line in file:
                yield json.loads(line)
