"""Hashes of the files that a stage wrote: computed once, and verified when a file is read.

A stage hashes each file that it writes while the system still has it in memory, and lists it in its
manifest. The next stage takes the name and the hash from there, so that it starts at once, and
checks the hash in the process that reads the file, just before it does: the check brings the file
into memory, so it is read from the disk once, and costs about 0.1 s a gigabyte.
"""

import mmap
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict

import xxhash

from data_prep.stage.manifest import MANIFEST, read_manifest
from webtext_gpt.errors import UserError, explain


class Fingerprint(TypedDict):
    """Name, size and content hash (XXH3, 128 bits, in hexadecimal) of a file."""

    name: str
    bytes: int
    xxh3: str


def fingerprint(path: Path, name: str = "") -> Fingerprint:
    """Return the fingerprint of one file, under `name` or its own.

    Raises:
        UserError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            digest = xxhash.xxh3_128()
            if path.is_file() and size:
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    digest.update(content)
                    size = len(content)
    except OSError as error:
        raise UserError(explain(error)) from error
    return {"name": name or path.name, "bytes": size, "xxh3": digest.hexdigest()}


def recorded_outputs(folder: Path) -> dict[str, Fingerprint]:
    """Return the fingerprints that a finished stage's manifest has of its files, by name.

    Other folders, and those of earlier versions, have no such record.

    Raises:
        UserError: The manifest cannot be read.
    """
    path = folder / MANIFEST
    found = read_manifest(path).get("outputs", []) if path.is_file() else []
    outputs: dict[str, Fingerprint] = {}
    for entry in found if isinstance(found, list) else []:
        match entry:
            case {"name": str(name), "bytes": int(size), "xxh3": str(digest)}:
                if re.fullmatch("[0-9a-f]{32}", digest):
                    outputs[name] = {"name": name, "bytes": size, "xxh3": digest}
    return outputs


def refuse_changed(path: Path, found: int | str, recorded: int | str) -> None:
    """Refuse a file that differs from its entry in the manifest.

    Raises:
        UserError: The size or hash found differs from the recorded one.
    """
    if found != recorded:
        raise UserError(
            f"{path}: damaged or changed since it was written: {found} where "
            f"{path.resolve().parent / MANIFEST} has {recorded} ("
            f"{'bytes' if isinstance(found, int) else 'xxh3'}); make the folder again, or delete "
            "its manifest.json if you changed the file yourself"
        )


class OutputHashes:
    """Fingerprints of the complete files of a folder.

    Args:
        folder: The folder.
        leave_out: Name of a folder in it whose files are left out.
    """

    def __init__(self, folder: Path, leave_out: str) -> None:
        self._folder, self._leave_out = folder, leave_out
        self._known: dict[Path, tuple[tuple[int, int], Fingerprint]] = {}
        self._changed: dict[Path, int] = {}  # modification time of each folder at the last call

    def take_new(self) -> None:
        """Hash the files that appeared since the last call."""
        for folder in {self._folder: 0, **self._changed}:
            self._look_into(folder)

    def _look_into(self, folder: Path) -> None:
        changed = folder.stat().st_mtime_ns if folder.is_dir() else 0
        if not changed or self._changed.get(folder) == changed:
            return
        self._changed[folder] = changed
        with os.scandir(folder) as entries:
            for entry in entries:
                path = folder / entry.name
                if entry.is_dir():
                    if entry.name != self._leave_out:
                        self._look_into(path)
                elif path not in self._known and not entry.name.startswith("."):
                    self._take(path)

    def all_of(self, files: Iterable[Path]) -> list[Fingerprint]:
        """Return the fingerprints of some files, by name; hash again what has changed."""
        shown = sorted(path for path in files if not path.name.startswith("."))
        return [self._take(path) for path in shown]

    def _take(self, path: Path) -> Fingerprint:
        status = path.stat()
        state = (status.st_size, status.st_mtime_ns)
        if path not in self._known or self._known[path][0] != state:
            name = path.relative_to(self._folder).as_posix()
            self._known[path] = (state, fingerprint(path, name))
        return self._known[path][1]
