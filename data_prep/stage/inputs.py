"""Input files of a stage: the files that a pattern names, and their fingerprints."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from data_prep.stage.manifest import MANIFEST
from data_prep.stage.outputs import Fingerprint, fingerprint, recorded_outputs, refuse_changed
from webtext_gpt.data.endings import (
    PARQUET,
    SUFFIXES,
    ends_in,
    listed,
    refusal,
    unknown_ending,
)
from webtext_gpt.data.parquet import open_parquet
from webtext_gpt.data.stage_folders import stage_rule
from webtext_gpt.errors import UserError
from webtext_gpt.paths import other_endings, place_of, search_files
from webtext_gpt.terminal import say


@dataclass(frozen=True)
class InputFile:
    """A file that a stage reads, with its fingerprint.

    Attributes:
        path: The file.
        fingerprint: Its name, size and hash.
        recorded: Whether the hash is the manifest's, and the content is not checked yet.
    """

    path: Path
    fingerprint: Fingerprint
    recorded: bool = False

    def check(self) -> None:
        """Compare the content with a hash that was taken from the manifest.

        Raises:
            UserError: The content differs, or cannot be read.
        """
        if self.recorded:
            refuse_changed(self.path, fingerprint(self.path)["xxh3"], self.hash)

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
    patterns: Iterable[str],
    suffixes: tuple[str, ...],
    key: str = "",
    *,
    any_name: bool = False,
    check_later: bool = False,
    out: str | Path | None = None,
) -> list[InputFile]:
    """Fingerprint the files that `expand` finds, in the same order.

    Args:
        patterns: See `expand`.
        suffixes: See `expand`.
        key: See `expand`.
        any_name: See `expand`.
        check_later: Whether to take the hash of a file that a stage wrote from its manifest. The
            caller must `check` it before it reads the file, as `Ledger.run_files` does.
        out: See `expand`.

    Raises:
        UserError: A pattern matches nothing, a file cannot be read, or it is not as the manifest
            beside it says; or the folder of a stage lacks a part, or holds one that is not its own.
    """
    patterns = list(patterns)
    recorded: dict[Path, dict[str, Fingerprint]] = {}
    files = []
    found = expand(patterns, suffixes, key, any_name=any_name, out=out)
    for path in found:
        file = path.resolve()  # the target, if it is a link
        if file.parent not in recorded:
            recorded[file.parent] = recorded_outputs(file.parent)
        known = recorded[file.parent].get(file.name)
        if known is None:
            files.append(InputFile(path, fingerprint(path)))
            continue
        refuse_changed(path, file.stat().st_size, known["bytes"])
        files.append(InputFile(path, {**known, "name": path.name}, recorded=True))
        if not check_later:
            files[-1].check()
    given = {folder.resolve() for pattern in patterns if (folder := place_of(pattern)).is_dir()}
    for folder, outputs in recorded.items():
        if outputs and not given.isdisjoint((folder, *folder.parents)):
            _refuse_other_parts(folder, {path.resolve() for path in found}, outputs, suffixes)
    return files


def _refuse_other_parts(
    folder: Path, found: set[Path], outputs: dict[str, Fingerprint], suffixes: tuple[str, ...]
) -> None:
    """Refuse the folder of a stage whose parts are not those that its manifest lists."""
    names = (name for name in outputs if "-" in name and "/" not in name)
    parts = {name for name in names if ends_in(Path(name), suffixes)}
    lost = sorted(name for name in parts if not (folder / name).exists())
    added = sorted({file.name for file in found if file.parent == folder} - outputs.keys())
    if lost:
        raise UserError(
            f"{folder} lacks {', '.join(lost[:3])}{', ...' if lost[3:] else ''}, which its "
            f"{MANIFEST} lists; restore it or make the folder again. To read only some of its "
            "files, name them"
        )
    if added:
        raise UserError(
            f"{folder / added[0]} is not in the {MANIFEST} beside it; move it to a folder of its "
            "own, and name both"
        )


def by_content(files: Iterable[InputFile]) -> list[InputFile]:
    """Sort files by hash, then by name, so that folders and argument order do not matter."""
    return sorted(files, key=lambda file: (file.hash, file.name))


def refuse_repeats(files: Sequence[InputFile]) -> None:
    """Refuse files with the same content, because their documents would count twice.

    Files without a row may repeat: an archive of pages that are all rejected gives one.

    Raises:
        UserError: Two files have the same hash.
    """
    for one, other in pairwise(by_content(files)):
        if one.hash == other.hash and not _is_empty(one.path):
            raise UserError(
                f"{one.name} and {other.name} have the same content: give each input once; "
                "leave one of the two out, or move it out of the folder"
            )


def _is_empty(path: Path) -> bool:
    if not ends_in(path, PARQUET):
        return not path.stat().st_size
    with open_parquet(path) as file:
        return not file.metadata.num_rows


def expand(
    patterns: Iterable[str],
    suffixes: tuple[str, ...],
    key: str = "",
    *,
    any_name: bool = False,
    out: str | Path | None = None,
) -> list[Path]:
    """Return the files that paths, folders and glob patterns name, sorted, each once.

    A folder stands for its files, and those of its folders, that end in one of `suffixes` in upper
    or lower case; see `webtext_gpt.paths.search_files`. The folder of a stage stands for its parts,
    see `webtext_gpt.data.stage_folders`. A line is printed about files with other endings.

    Args:
        patterns: Paths, folders and patterns.
        suffixes: Suffixes of the files that are read in folders.
        key: The setting that gives the patterns, for messages.
        any_name: Whether a file that is named, or that a pattern matches, may have another ending.
        out: The folder that the stage makes. A search of a folder around it skips it, so that the
            stage finds the same files when it is run again.

    Raises:
        UserError: A pattern is empty, or matches nothing; or a file named has another ending.
    """
    is_passed_by = stage_rule()
    made = None if out is None else place_of(out, "out").resolve()

    def ignored(path: Path) -> bool:
        is_out = made is not None and path.name == made.name and path.resolve() == made
        return is_out or is_passed_by(path)

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
        ignored=ignored,
    )
    if found.others:
        names = [file.name for file in found.others]
        say(f"{key or 'inputs'}: {other_endings(names)}")
    return sorted(file.parent.resolve() / file.name for file in found.files)
