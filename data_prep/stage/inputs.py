"""Input files of a stage: the files that a pattern names, and their fingerprints."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypedDict

import xxhash

from webtext_gpt.data.endings import SUFFIXES, ends_in, listed, refusal, unknown_ending
from webtext_gpt.data.stage_folders import stage_rule
from webtext_gpt.errors import UserError, explain
from webtext_gpt.paths import other_endings, search_files


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


def find_inputs(
    patterns: Iterable[str], suffixes: tuple[str, ...], key: str = "", *, any_name: bool = False
) -> list[InputFile]:
    """Fingerprint the files that `expand` finds, in the same order.

    Raises:
        UserError: See `expand`; or a file cannot be read.
    """
    paths = expand(patterns, suffixes, key, any_name=any_name)
    return [InputFile(path, fingerprint(path)) for path in paths]


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
        raise UserError(explain(error)) from error
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


def expand(
    patterns: Iterable[str], suffixes: tuple[str, ...], key: str = "", *, any_name: bool = False
) -> list[Path]:
    """Return the files that paths, folders and glob patterns name, sorted, each once.

    A folder stands for its files that end in one of `suffixes`, in any case, and those of its
    folders; see `webtext_gpt.paths.search_files`. The folder of a stage stands for its parts, see
    `webtext_gpt.data.stage_folders`. Files with other endings are left out, and a line is printed.

    Args:
        patterns: Paths, folders and patterns.
        suffixes: Suffixes of the files that are read in folders.
        key: The setting that gives the patterns, for messages.
        any_name: Whether a file that is named, or that a pattern matches, may have another ending.

    Raises:
        UserError: A pattern is empty, or matches nothing; or a file named has another ending.
    """

    def why_not(file: Path) -> str | None:
        if suffixes == SUFFIXES:
            return refusal(file)
        return None if ends_in(file, suffixes) else unknown_ending(file, suffixes)

    found = search_files(
        patterns,
        lambda file: ends_in(file, suffixes),
        key=key,
        kinds=f"a file in {listed(suffixes)}",
        refusal=None if any_name else why_not,
        ignored=stage_rule(),
    )
    if found.others:
        names = [file.name for file in found.others]
        print(f"{key or 'inputs'}: {other_endings(names)}", flush=True)
    return sorted(file.parent.resolve() / file.name for file in found.files)
