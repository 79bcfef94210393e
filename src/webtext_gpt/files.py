"""Atomic file writes: a reader finds the complete file, the previous one, or none.

A file is written under a hidden name in the destination's folder, then renamed, which replaces the
destination in one step. An error removes the hidden file. A killed process leaves it behind; its
name ends in `.partial`, and `remove_partials` clears a folder of such files.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from webtext_gpt.errors import UserError
from webtext_gpt.signatures import HEAD_BYTES, refuse_other_kind

PARTIAL = ".partial"
BOM = b"\xef\xbb\xbf"
"""Byte order mark that may begin a UTF-8 file."""
CONVERT = "convert it, for example with iconv -f latin1 -t utf-8"
"""Advice about a file that is not UTF-8."""


def partial_path(path: Path) -> Path:
    """Return the hidden name under which this process writes `path`, in the same folder."""
    return path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")


@contextmanager
def replaced(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary name to write to, which is renamed to `path` when the block succeeds.

    If the block fails, the temporary file is removed and `path` is unchanged. The temporary name
    ends in `.partial`, so a writer that infers the format from the suffix must be told the format.

    Args:
        path: destination. Missing folders are made, and removed again if the block fails. An
            existing file is replaced; an existing folder is replaced only with `durable`.
        durable: sync the file, then the folder, so that the result survives a power failure.
    """
    partial = partial_path(path)
    with _parents(path):
        try:
            yield partial
            if durable:
                sync_file(partial)
                publish(partial, path)
            else:
                partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder under a temporary name, renamed to `folder` when the block succeeds.

    If the block fails, the temporary folder is removed. A killed process's leftover is removed
    first, since folders can be large. Only one process may make a given folder at a time.

    Args:
        folder: destination, which must not exist or be an empty folder.
    """
    partial = folder.with_name(f".{folder.name}{PARTIAL}")
    with _parents(folder):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            yield partial
            partial.replace(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _parents(path: Path) -> Iterator[None]:
    """Make the missing folders above a path; remove those that were made if the block fails."""
    missing = []
    if not path.parent.is_dir():
        missing = [folder for folder in path.parents if not folder.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for folder in missing:  # the innermost first
            with suppress(OSError):  # another process uses it by now
                folder.rmdir()
        raise


def read_text(path: str | Path) -> str:
    """Return the text of a UTF-8 file, with line endings unchanged.

    Raises:
        UserError: the file is of another kind, such as an image, and the message says which; or
            it is not UTF-8, and the message gives the position of the bad byte.
    """
    return decode_text(Path(path), Path(path).read_bytes())


def decode_text(path: Path, data: bytes) -> str:
    """Return the text of a UTF-8 file's contents; raises as `read_text` does."""
    refuse_other_kind(path, data[:HEAD_BYTES])
    try:
        return data.decode("utf-8").removeprefix("\ufeff")  # drop a byte order mark
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8: byte {data[error.start]:#04x} at position {error.start}; "
            f"{CONVERT}"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically. Missing folders are created."""
    with replaced(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, *, indent: int = 2, ensure_ascii: bool = True) -> None:
    """Write a JSON file atomically. Missing folders are created."""
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=ensure_ascii) + "\n")


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a JSONL file atomically, one object per row. Missing folders are created."""
    with replaced(path) as partial, partial.open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")


def publish(partial: Path, path: Path) -> None:
    """Rename a finished file or folder to `path`, replacing what is there, and sync the folder.

    A folder cannot be replaced in one step, so the old one is first renamed to `.NAME.old`, and
    removed at the end.
    """
    old = path.with_name(f".{path.name}.old")
    if partial.is_dir() or path.is_dir():
        remove(old)
        if path.exists():
            path.rename(old)
    partial.replace(path)
    remove(old)
    sync_folder(path.parent)


def remove(path: Path) -> None:
    """Remove a file, link or folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_partials(folder: Path) -> None:
    """Remove a folder's partial files. No other process may be writing to the folder."""
    for path in folder.glob(f".*{PARTIAL}"):
        remove(path)


def sync_file(path: Path) -> None:
    """Flush a file to the disk, so that its contents survive a power failure."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Flush a folder to the disk, so that the names in it survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
