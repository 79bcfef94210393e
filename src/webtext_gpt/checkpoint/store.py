"""Checkpoint files: their names in a run folder, finding, verifying, opening and saving them.

A checkpoint is either one file, written by one process or under DDP, or a folder in parts, written
under ZeRO (`webtext_gpt.checkpoint.parts`). `Checkpoint` hides the difference. Opening one reads
tensors and plain values, and never runs code from the file.
"""

import sys
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from webtext_gpt.checkpoint.absent import FOLDER, no_checkpoint
from webtext_gpt.checkpoint.parts import (
    COMPLETE,
    STATE,
    SavedParameters,
    consolidated,
    files_of,
    pieces_of_file,
    read_pieces,
)
from webtext_gpt.errors import UserError
from webtext_gpt.files import replaced, sync_file
from webtext_gpt.paths import local_path
from webtext_gpt.signatures import why_unreadable
from webtext_gpt.terminal import say

LAST = "last.ckpt"
BEST = "best.ckpt"
STEP_NAME = "step-{step:08d}.ckpt"
STEPS = "step-????????.ckpt"
"""Pattern of `STEP_NAME`."""


def find_checkpoint(path: str | Path, names: tuple[str, ...]) -> Path:
    """Return the checkpoint at `path`, or the one of a run.

    Args:
        path: a checkpoint or a run folder.
        names: checkpoints of a run in order of preference; if it has none, its newest is returned.

    Raises:
        UserError: there is none.
    """
    path = local_path(path, "checkpoint")
    if path.is_file() or (path / COMPLETE).is_file():
        return path
    for name in names:
        if (path / FOLDER / name).exists():
            return path / FOLDER / name
    if saved := saved_checkpoints(path):  # a run may be killed before it makes its links
        return saved[0]
    raise UserError(no_checkpoint(path))


def saved_checkpoints(run_dir: str | Path) -> list[Path]:
    """Return the checkpoints of a run, newest first.

    Old versions saved one file, `last.ckpt`, which is now a link. It comes last.
    """
    folder = Path(run_dir) / FOLDER
    last = folder / LAST
    old = [last] if last.is_file() and not last.is_symlink() else []
    return sorted(folder.glob(STEPS), reverse=True) + old


def restore_replaced(run_dir: str | Path) -> None:
    """Restore undamaged checkpoints that `files.publish` had renamed when it was killed."""
    for old in (Path(run_dir) / FOLDER).glob(f".{STEPS}.old"):
        path = old.with_name(old.name.removeprefix(".").removesuffix(".old"))
        if not path.exists() and damage(old) is None:
            old.rename(path)


@dataclass(frozen=True)
class Checkpoint:
    """An open checkpoint. Tensors are memory-mapped, and read when they are used."""

    path: Path
    state: dict[str, Any]
    """Plain values; of a single-file checkpoint also the tensors."""
    parts: Sequence[dict[str, Any]] | None = None
    """Contents of a folder's part files, if they are already open."""

    def contents(self, with_optimizer: bool = True) -> dict[str, Any]:
        """Return all contents in the layout of a single file; tied weights share one tensor.

        Args:
            with_optimizer: include the optimizer's state. A single file always includes it.
        """
        if not self.path.is_dir():
            return self.state
        return consolidated(self.state, self._pieces(), with_optimizer)

    def parameters(self, names: list[list[str]]) -> SavedParameters:
        """Return parameters and optimizer states; a process can read just a range of each.

        Args:
            names: names of the parameters in each parameter group of the optimizer.
        """
        if self.path.is_dir():
            return self._pieces()
        return SavedParameters(pieces_of_file(self.state, names))

    def _pieces(self) -> SavedParameters:
        if self.parts is not None:
            return SavedParameters(read_pieces(self.parts))
        files = [file for file in files_of(self.path) if file.name != STATE]
        return SavedParameters(read_pieces(map(_read_file, files)))


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Open a checkpoint without checking its tensors; see `open_verified`.

    Raises:
        UserError: it is incomplete, not a checkpoint, or so damaged that it cannot be opened.
    """
    path = Path(path)
    if path.is_dir():
        files_of(path)
        return Checkpoint(path, _read_file(path / STATE))
    return Checkpoint(path, _read_file(path))


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Return `Checkpoint.contents` of a checkpoint. Raises as `open_checkpoint` does."""
    return open_checkpoint(path).contents()


def _read_file(file: Path) -> dict[str, Any]:
    try:
        contents = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch lets through any error of zipfile, pickle and its reader
        reason = why_unreadable(file) or str(error)
        raise UserError(f"{file} cannot be read as a checkpoint: {reason}") from error
    if not isinstance(contents, dict):
        found = type(contents).__name__
        raise UserError(f"{file} cannot be read as a checkpoint: it holds a {found}, not a dict")
    return contents


class DamagedCheckpoint(UserError):  # noqa: N818 - names the state of the file
    """A checkpoint is damaged or incomplete, or the file is not a checkpoint.

    Attributes:
        problem: what is wrong, without the path.
    """

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path} cannot be read as a checkpoint: {problem}")
        self.problem = problem


def open_verified(path: str | Path) -> Checkpoint:
    """Open a checkpoint after reading every byte of it once.

    torch's files are zip archives with a CRC-32 for each tensor and for the plain values. torch
    does not check them when it maps a file.

    Raises:
        DamagedCheckpoint: a file has the wrong size or checksum, or cannot be opened.
    """
    path = Path(path)
    contents: dict[str, dict[str, Any]] = {}
    try:
        for file, size in (files_of(path) if path.is_dir() else {path: None}).items():
            found = file.stat().st_size
            if size not in (None, found):
                raise DamagedCheckpoint(
                    path, f"{file.name} has {found:,} bytes instead of {size:,}"
                )
            with zipfile.ZipFile(file) as archive:
                if record := archive.testzip():
                    raise DamagedCheckpoint(
                        path, f"{file.name}: {record} does not have its checksum"
                    )
            contents[file.name] = _read_file(file)
    except DamagedCheckpoint:
        raise
    except (OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise DamagedCheckpoint(path, str(error)) from error
    except (zipfile.BadZipFile, zlib.error) as error:
        bad = file if file.is_file() else path
        reason = why_unreadable(bad) or str(error)
        raise DamagedCheckpoint(path, reason if bad == path else f"{bad.name}: {reason}") from error
    if not path.is_dir():
        return Checkpoint(path, contents[path.name])
    if STATE not in contents:
        raise DamagedCheckpoint(path, f"{COMPLETE} does not list {STATE}")
    return Checkpoint(path, contents.pop(STATE), tuple(contents.values()))


def damage(path: str | Path) -> str | None:
    """Return the damage to a checkpoint, or `None` if there is none. Every byte is read."""
    try:
        open_verified(path)
    except DamagedCheckpoint as found:
        return found.problem
    return None


def open_undamaged(path: str | Path) -> Checkpoint:
    """Open and verify a checkpoint, or the first undamaged one of a run.

    Args:
        path: a checkpoint or a run folder. The checkpoints of a run are tried in this order: best,
            last, then from the newest. Each damaged one is reported on standard error.

    Raises:
        UserError: there is no checkpoint.
        DamagedCheckpoint: all are damaged.
    """
    file = find_checkpoint(path, (BEST, LAST))
    others = saved_checkpoints(local_path(path))
    while True:
        try:
            return open_verified(file)
        except DamagedCheckpoint as damaged:
            others = [other for other in others if not other.samefile(file)]
            if not others:
                raise
            message = f"{file} is damaged ({damaged.problem}); {others[0]} is used instead"
            say(message, sys.stderr)
            file = others[0]


def save_checkpoint(contents: dict[str, Any], path: str | Path) -> None:
    """Write a single-file checkpoint, which appears only once it is complete and on the disk.

    Args:
        contents: tensors and plain values.
        path: destination; an existing checkpoint of either form is replaced.

    Raises:
        OSError: it cannot be written, for example because the disk is full. Nothing is left
            behind.
    """
    path = Path(path)
    try:
        with replaced(path, durable=True) as partial:
            _write_file(contents, partial)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_file(contents: dict[str, Any], path: Path) -> None:
    """Write one file of a checkpoint in parts, and flush it to the disk.

    Raises:
        OSError: it cannot be written, for example because the disk is full.
    """
    _write_file(contents, path)
    try:
        sync_file(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _write_file(contents: dict[str, Any], path: Path) -> None:
    try:
        with path.open("wb") as stream:  # given a path, torch loses the reason of a failure
            torch.save(contents, stream)
    except RuntimeError as error:  # torch's writer hides the file system's error
        if isinstance(error.__context__, OSError):
            cause = error.__context__
            raise OSError(cause.errno, cause.strerror, str(path)) from error
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
