"""Journal of a crawl: one line for each finished URL, and the archives of the fetched pages.

A URL is finished when its outcome is final: fetched, refused or failed. A page is first appended to
the archive; then its line, with the new length of the archive, is appended to the journal. After a
crash, both are truncated to the last complete line. So a page counts as fetched only if its line
is complete, and no archive holds a page twice.
"""

import json
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import xxhash


def keys_of(ids: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Return 64-bit hashes of ids, which may be any text, (N,)."""
    return np.array([xxhash.xxh3_64_intdigest(name.encode()) for name in ids], np.uint64)


class Journal:
    """Append-only record of a crawl that survives a kill at any moment.

    Args:
        folder: Folder of the archives, `pages-00000.warc.gz` and so on.
        journal: The file of lines.
        archive_bytes: Size of an archive after which the next page starts a new one.

    Attributes:
        finished: Hashes of the URLs that earlier runs finished, (N,).
        answered: The last URLs to which a host answered in earlier runs.
    """

    def __init__(self, folder: Path, journal: Path, archive_bytes: int) -> None:
        self._folder, self._path, self._archive_bytes = folder, journal, archive_bytes
        self.answered: deque[str] = deque(maxlen=100)
        self._number, length, self.finished = self._recover()
        self._lines: IO[bytes] = journal.open("ab")
        self._archive: IO[bytes] = self._archive_path().open("ab")
        self._archive.truncate(length)
        for later in folder.glob("pages-*.warc.gz"):
            if later.name > self._archive_path().name:
                later.unlink()

    def _archive_path(self) -> Path:
        return self._folder / f"pages-{self._number:05d}.warc.gz"

    def _recover(self) -> tuple[int, int, npt.NDArray[np.uint64]]:
        """Truncate at an incomplete line; return the last archive, its length, finished ids."""
        number = length = complete = 0
        ids: list[str] = []
        if self._path.exists():
            with self._path.open("rb") as file:
                for line in file:
                    try:
                        entry = json.loads(line) if line.endswith(b"\n") else None
                    except ValueError:  # zeros, as a loss of power may leave them
                        entry = None
                    if entry is None:
                        break
                    number, length = entry["archive"], entry["length"]
                    ids.append(entry["id"])
                    if entry["status"] == "fetched" or entry["status"].startswith("http "):
                        self.answered.append(entry["final_url"] or entry["url"])
                    complete += len(line)
            os.truncate(self._path, complete)
        return number, length, np.unique(keys_of(ids))

    def is_finished(self, ids: list[str]) -> npt.NDArray[np.bool_]:
        """Return which URL ids were finished by an earlier run, (N,)."""
        return np.isin(keys_of(ids), self.finished)

    def record(self, entry: Mapping[str, Any], records: bytes = b"") -> None:
        """Record the outcome of one URL.

        Args:
            entry: Its line: `id` and any other values to record, as plain JSON.
            records: WARC records of the fetched page, as complete gzip members.
        """
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
        """Yield all lines, in the order in which URLs were finished."""
        with self._path.open("rb") as file:
            for line in file:
                yield json.loads(line)
