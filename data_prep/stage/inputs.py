"""Input files of a stage: the files that a pattern names, and their fingerprints."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypedDict

import xxhash

from data_prep.stage.manifest import MANIFEST
from webtext_gpt.errors import UserError


class Fingerprint(TypedDict):
    """Name, size and content hash (XXH3, 128 bits, in hexadecimal) of a file."""

    name: str
    bytes: int
    xxh3: str


@dataclass(frozen=True)
class InputFile:
    """A file that a stage reads, with its fingerprint."""

    path: Path
    fingerprint: Fingerprint

    @property
    def hash(self) -> str:
        """Hash of the content. It names the unit of work that reads this file."""
        return self.fingerprint["xxh3"]

    @property
    def name(self) -> str:
        """File name without its folder."""
        return self.fingerprint["name"]

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.fingerprint["bytes"]


def find_inputs(patterns: Iterable[str], suffixes: tuple[str, ...]) -> list[InputFile]:
    """Fingerprint the files that `expand` finds, in the same order.

    Raises:
        UserError: A pattern matches nothing, or a file cannot be read.
    """
    return [InputFile(path, fingerprint(path)) for path in expand(patterns, suffixes)]


def fingerprint(path: Path) -> Fingerprint:
    """Return the fingerprint of one file.

    Raises:
        UserError: The file cannot be read.
    """
    digest = xxhash.xxh3_128()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        size = path.stat().st_size
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    return {"name": path.name, "bytes": size, "xxh3": digest.hexdigest()}


def by_content(files: Iterable[InputFile]) -> list[InputFile]:
    """Sort files by hash, then by name, so that folders and argument order do not matter."""
    return sorted(files, key=lambda file: (file.hash, file.name))


def refuse_repeats(files: Sequence[InputFile]) -> None:
    """Refuse files with the same content, because their documents would count twice.

    Raises:
        UserError: Two files have the same hash.
    """
    for one, other in pairwise(by_content(files)):
        if one.hash == other.hash:
            raise UserError(
                f"{one.name} and {other.name} have the same content: give each input once; "
                "leave one of the two out, or move it out of the folder"
            )


def expand(patterns: Iterable[str], suffixes: tuple[str, ...]) -> list[Path]:
    """Return the files that paths, folders and glob patterns name, sorted, without repeats.

    A folder stands for its files that end in one of `suffixes`. The folder of a finished stage
    stands for its parts (`documents-00000.parquet`), not for the tables about them
    (`clusters.parquet`).

    Raises:
        UserError: A pattern matches nothing, or is not valid.
    """
    found: set[Path] = set()
    for pattern in patterns:
        path = located(pattern)
        if path.is_dir():
            files = [p for p in path.iterdir() if p.name.endswith(suffixes) and p.is_file()]
            if (path / MANIFEST).exists():
                files = [p for p in files if "-" in p.name]
        elif path.exists():
            files = [path]
        else:
            relative = str(path.relative_to(path.anchor)) if path.anchor else str(path)
            try:
                files = [p for p in Path(path.anchor or ".").glob(relative) if p.is_file()]
            except ValueError as error:
                raise UserError(f"{pattern}: not a pattern of paths: {error}") from error
        if not files:
            wanted = f" with a file in {', '.join(suffixes)}" if path.is_dir() else ""
            raise UserError(f"{pattern}: no such file or folder{wanted}")
        found.update(p.resolve() for p in files)
    return sorted(found)


def located(path: str | Path) -> Path:
    """Return a path; `~` at its beginning is the home folder, unless there is such a name here."""
    path = Path(path)
    if path.exists():
        return path
    try:
        return path.expanduser()
    except RuntimeError:  # `~NAME`, but no user has that name
        return path
