"""Paths as the user gives them: literal names, `~/`, folders, glob patterns and addresses.

A name that exists is taken literally, whatever characters it holds; only then does a leading `~/`
mean the home folder, and do `*`, `?`, `[...]` and `**` mean a pattern. Environment variables are
left to the shell. Inputs may also be addresses in an object store, see `webtext_gpt.remote`; the
functions here return the copies of these on this machine.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Literal

from webtext_gpt.errors import UserError
from webtext_gpt.remote.addresses import (
    PATTERN_CHARACTERS,
    is_address,
    mirrored,
    refuse_address_as_folder,
    unsupported,
)

_How = Literal["named", "matched", "inside"]
"""Ways in which a file is given: by its name, by a pattern, or by the folder it is in."""


def local_path(given: str | Path, key: str = "") -> Path:
    """Return a path of this machine, which need not exist.

    Args:
        given: taken literally if it exists, otherwise with `~/` replaced by the home folder.
        key: the setting that gives it, for the message.

    Raises:
        UserError: the path is empty, which would mean the current folder; or it is an address.
    """
    if given == "":
        empty = f"{key}= is empty" if key else "a path is empty"
        raise UserError(f"{empty}; name a file or folder (. is the current folder)")
    if is_address(given):
        raise unsupported(str(given), key)
    path = Path(given.removeprefix("file://")) if isinstance(given, str) else given
    if not os.path.lexists(path):
        try:
            return path.expanduser()
        except RuntimeError:  # `~name` without such a user: a name like any other
            return path
    return path


def readable_path(given: str | Path, key: str = "") -> Path:
    """Return a path of this machine, which need not exist; for an address, of its copy.

    A remote folder is copied with all its files.

    Raises:
        UserError: see `local_path` and `webtext_gpt.remote.mirror.fetch`.
    """
    if not is_address(given):
        return local_path(given, key)
    from webtext_gpt.remote.mirror import copy_of

    return copy_of(str(given), key)


def place_of(given: str | Path, key: str = "") -> Path:
    """Return where `readable_path` is or would be; nothing is read."""
    return mirrored(str(given), key) if is_address(given) else local_path(given, key)


def find_files(
    given: str | Iterable[str],
    wanted: Callable[[Path], bool],
    *,
    key: str = "",
    kinds: str,
    recursive: bool = True,
) -> list[Path]:
    """Return the files that paths, folders and glob patterns name, sorted, each file once.

    They are the `files` of `search_files`; files named explicitly are returned whatever they are.
    """
    return search_files(given, wanted, key=key, kinds=kinds, recursive=recursive).files


@dataclass(frozen=True)
class FoundFiles:
    """Files that paths and patterns name.

    Attributes:
        files: the files to read, sorted, each once.
        others: files in folders, or that patterns match, that are not of the wanted kinds.
    """

    files: list[Path]
    others: list[Path]


def other_endings(names: Sequence[str]) -> str:
    """Return a line about files that are left out because of their endings."""
    count = "1 file" if len(names) == 1 else f"{len(names):,} files"
    more = ", ..." if len(names) > 5 else ""
    return f"{count} with another ending left out: {', '.join(map(shown, names[:5]))}{more}"


def search_files(
    given: str | Iterable[str],
    wanted: Callable[[Path], bool],
    *,
    key: str = "",
    kinds: str,
    recursive: bool = True,
    refusal: Callable[[Path], str | None] | None = None,
    ignored: Callable[[Path], bool] = lambda _: False,
) -> FoundFiles:
    """Return the files that paths, folders and glob patterns name, and those that are left out.

    A folder stands for the files in it that are `wanted`. In folders and patterns, files and
    folders whose names begin with a dot are left out unless the pattern spells the dot. A file
    that is found several times, also through symbolic links, counts once, under its real name if
    that was found. Links to folders are followed, and each folder is read once.

    The remote files of an address are copied to this machine, with the manifests beside them.

    Args:
        given: a path, pattern or address, or several.
        wanted: whether a file found in a folder is read.
        key: the setting that gives the paths, for messages.
        kinds: the files that `wanted` accepts, for messages.
        recursive: whether a folder also stands for the files in its folders.
        refusal: returns why a named file is not read, or None; patterns then match only wanted
            files. Without it, named and matched files are always read.
        ignored: returns whether a search skips a file or folder without reporting it.

    Raises:
        UserError: a path is empty, or names no file, or one that is refused.
    """
    patterns = [given] if isinstance(given, str) else list(given)
    if not patterns:
        raise UserError(f"{key or 'the list of files'} is empty; name a file or folder")
    found: list[Path] = []
    others: list[Path] = []

    def takes(file: Path, how: _How) -> bool:
        return how == "named" or (how == "matched" and refusal is None) or wanted(file)

    for pattern in patterns:
        if is_address(pattern):
            files, how = _remote_files(pattern, key, takes, recursive, ignored)
        else:
            files, how = _files(pattern, key, recursive, ignored)
        if how != "inside" and refusal is None:
            found += files
        elif how == "named" and refusal is not None:
            if (problem := refusal(files[0])) is not None:
                raise UserError(problem)
            found += files
        else:
            right = [file for file in files if wanted(file)]
            if not right:
                raise UserError(_nothing(pattern, files, key, kinds, how))
            found += right
            others += (file for file in files if not wanted(file))
    return FoundFiles(_once(found), _once(others))


def _once(found: Iterable[Path]) -> list[Path]:
    once: dict[str, Path] = {}
    for file in sorted(found, key=lambda file: (_detour(file), file.absolute())):
        once.setdefault(os.path.realpath(file), file)
    return sorted(once.values(), key=Path.absolute)  # the same for relative and absolute paths


def _nothing(pattern: str, files: list[Path], key: str, kinds: str, how: _How) -> str:
    """Return the message about a folder or pattern without a wanted file."""
    name = f"{key}={shown(pattern)}" if key else shown(pattern)
    if how == "matched":
        return f"{name} matches no {kinds}, only {', '.join(shown(file) for file in files[:3])}"
    inside = files if is_address(pattern) else local_path(pattern, key).iterdir()
    others = sorted(shown(p.name) for p in inside if p.name[0] != ".")[:3]
    held = f"; it holds {', '.join(others)}, ..." if others else ""
    return f"{name} is a folder without {kinds}{held}"


def names_files(pattern: str) -> bool:
    """Return whether a path or address exists, or a glob pattern matches something."""
    if is_address(pattern):
        from webtext_gpt.remote.listing import exists

        return exists(pattern)
    path = local_path(pattern)
    return path.exists() or next(_matches(path), None) is not None


def shown(given: str | Path) -> str:
    """Return a path for a message, in quotes if it has spaces at its ends or line breaks."""
    text = str(given)
    return text if text and text.isprintable() and text == text.strip() else repr(text)


def absence(given: str | Path) -> str:
    """Return the end of a message about a path that does not exist."""
    path = Path(given)
    if path.is_symlink():
        return f"is a link to {shown(path.readlink())}, which does not exist"
    hint = ""
    if "$" in str(given):
        hint = "; variables such as $HOME are expanded by the shell alone, outside single quotes"
    return f"does not exist (looked from {Path.cwd()}){hint}"


def check_output_folder(folder: Path, key: str) -> None:
    """Refuse a folder that cannot be created or written to, before work is done for it.

    Raises:
        UserError: a part of the path is a file, or its folder is not writable.
    """
    _check_place(folder, folder, key)


def check_output_file(file: Path, key: str) -> None:
    """Refuse an output file whose path is a folder, or whose folder cannot be written to.

    Raises:
        UserError: the path is a folder; or see `check_output_folder`.
    """
    if file.is_dir():
        raise UserError(f"{key}={shown(file)} is a folder, but a file is expected")
    _check_place(file, file.parent, key)


def _check_place(out: Path, folder: Path, key: str) -> None:
    """Check the folder of an output, or the nearest folder above it that exists."""
    refuse_address_as_folder(out, key)
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    name = f"{key}={shown(out)}"
    if not place.is_dir():
        at = "" if place == out else f": {shown(place)}"
        raise UserError(f"{name}{at} is a file, but a folder is expected; give another {key}=")
    if not os.access(place, os.W_OK | os.X_OK):
        made = "cannot be written to" if place == out else "cannot be created"
        raise UserError(
            f"{name} {made}: no permission to write in {shown(place)}, or it is read-only; give "
            f"another {key}="
        )


def _remote_files(
    address: str,
    key: str,
    takes: Callable[[Path, _How], bool],
    recursive: bool,
    ignored: Callable[[Path], bool],
) -> tuple[list[Path], _How]:
    """Return the copies of the files of one address, and how it names them."""
    from webtext_gpt.remote.mirror import fetch

    copies = fetch(address, key, takes, ignored=ignored, recursive=recursive)
    return copies.files, copies.how


def _files(
    pattern: str, key: str, recursive: bool, ignored: Callable[[Path], bool]
) -> tuple[list[Path], _How]:
    """Return the files of one path or pattern, and how it names them."""
    path = local_path(pattern, key)
    name = f"{key}={shown(pattern)}" if key else shown(pattern)
    if path.is_dir():
        folders = _folders(path, ignored) if recursive else [path]
        visible = (file for folder in folders for file in _visible(folder))
        return [file for file in visible if not ignored(file)], "inside"
    if path.is_file():
        return [path], "named"
    if path.exists():
        raise UserError(
            f"{name} is a pipe or device, which can be read only once; write its contents to a "
            "file first"
        )
    found = list(_matches(path))
    files = [match for match in found if match.is_file()]
    if not files and any(match.is_dir() for match in found):
        raise UserError(
            f"{name} matches only folders ({shown(found[0])}, ...); name them, or their files: "
            f"{shown(pattern)}/*"
        )
    if not files:
        matched = any(character in pattern for character in PATTERN_CHARACTERS)
        nothing = f"matches no file (looked from {Path.cwd()})"
        raise UserError(f"{name} {nothing if matched else absence(path)}")
    return files, "matched"


def _detour(file: Path) -> int:
    """Return 0 for the real path of a file, 1 for another one with its own name, 2 for a link."""
    real = os.path.realpath(file)
    return 0 if real == str(file.absolute()) else 1 if Path(real).name == file.name else 2


def _visible(folder: Path) -> list[Path]:
    return [f for f in folder.iterdir() if not f.name.startswith(".") and f.is_file()]


def _folders(top: Path, ignored: Callable[[Path], bool] = lambda _: False) -> Iterator[Path]:
    """Yield a folder and those below it; folders behind links come last, each once.

    A link to a folder that contains it would be a loop, and is not followed.
    """
    seen: set[Path] = set()
    waiting = [top]
    while waiting:
        links: list[Path] = []
        for start in waiting:
            for folder, names, _ in os.walk(start):
                real = Path(folder).resolve()
                names[:] = [] if real in seen else sorted(n for n in names if n[0] != ".")
                if real not in seen:
                    seen.add(real)
                    yield Path(folder)
                names[:] = [name for name in names if not ignored(Path(folder, name))]
                inside = (Path(folder, name) for name in names)
                links += [p for p in inside if p.is_symlink() and p.resolve() not in real.parents]
        waiting = links


def _matches(path: Path) -> Iterator[Path]:
    """Yield the files and folders that a glob pattern matches; parts that exist are literal."""
    yield from _below(Path(path.anchor or "."), path.parts[bool(path.anchor) :])


def _below(folder: Path, parts: tuple[str, ...]) -> Iterator[Path]:
    if not parts:
        yield folder
        return
    part, rest = parts[0], parts[1:]
    if os.path.lexists(folder / part):
        yield from _below(folder / part, rest)
    elif part == "**":
        for inside in _folders(folder):
            yield from _below(inside, rest or ("*",))
    elif any(character in part for character in PATTERN_CHARACTERS):
        for name in sorted(glob(part, root_dir=folder)):
            yield from _below(folder / name, rest)
