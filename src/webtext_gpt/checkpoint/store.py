"""Checkpoints: written so that they are whole or absent, read without running anything.

A checkpoint is one file, as one process or DDP writes it, or a folder in parts, as ZeRO does
(`webtext_gpt.checkpoint.parts`). Whoever reads one need not know which.
"""

import sys
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from webtext_gpt.checkpoint.parts import (
    COMPLETE,
    STATE,
    SavedParameters,
    consolidated,
    files_of,
    pieces_of_whole,
    read_pieces,
)
from webtext_gpt.errors import UserError
from webtext_gpt.files import replaced, sync_file

FOLDER = "checkpoints"
LAST = "last.ckpt"
BEST = "best.ckpt"
STEP_NAME = "step-{step:08d}.ckpt"
STEPS = "step-????????.ckpt"


def find_checkpoint(path: str | Path, names: tuple[str, ...]) -> Path:
    """The checkpoint that `path` names: itself, or the first of `names` that a run's folder has.

    Raises:
        UserError: there is none.
    """
    path = Path(path).expanduser()
    if path.is_file() or (path / COMPLETE).is_file():
        return path
    for name in names:
        if (path / FOLDER / name).exists():
            return path / FOLDER / name
    if saved := saved_checkpoints(path):  # a killed run may have had no time for a link
        return saved[0]
    if not path.exists():
        raise UserError(f"{path} does not exist (looked from {Path.cwd()})")
    raise UserError(f"{path} holds no checkpoint: neither {' nor '.join(names)} in {FOLDER}/")


def saved_checkpoints(run_dir: str | Path) -> list[Path]:
    """The checkpoints of a run, newest first; earlier versions kept the last alone, as a file."""
    folder = Path(run_dir) / FOLDER
    last = folder / LAST
    alone = [last] if last.is_file() and not last.is_symlink() else []
    return sorted(folder.glob(STEPS), reverse=True) + alone


def restore_replaced(run_dir: str | Path) -> None:
    """Give whole checkpoints their names back that `publish` took when it was killed."""
    for old in (Path(run_dir) / FOLDER).glob(f".{STEPS}.old"):
        path = old.with_name(old.name.removeprefix(".").removesuffix(".old"))
        if not path.exists() and damage(old) is None:
            old.rename(path)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that is open: its values are read when they are asked for."""

    path: Path
    state: dict[str, Any]
    """Plain values; where the checkpoint is one file, the tensors too, memory-mapped."""
    parts: Sequence[dict[str, Any]] | None = None
    """Contents of the part files of a folder, if they are open already."""

    def whole(self, with_optimizer: bool = True) -> dict[str, Any]:
        """Its contents as one process would have written them, tied weights tied."""
        if not self.path.is_dir():
            return self.state
        return consolidated(self.state, self._pieces(), with_optimizer)

    def parameters(self, names: list[list[str]]) -> SavedParameters:
        """Values by parameter and place, for processes that hold only some of them.

        Args:
            names: of the parameters of each group of the optimizer.
        """
        if self.path.is_dir():
            return self._pieces()
        return SavedParameters(pieces_of_whole(self.state, names))

    def _pieces(self) -> SavedParameters:
        if self.parts is not None:
            return SavedParameters(read_pieces(self.parts))
        files = [file for file in files_of(self.path) if file.name != STATE]
        return SavedParameters(read_pieces(map(_read_file, files)))


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Open a checkpoint of either form: tensors and plain values, never code.

    Raises:
        UserError: it is damaged, incomplete, or something else.
    """
    path = Path(path)
    if path.is_dir():
        files_of(path)
        return Checkpoint(path, _read_file(path / STATE))
    return Checkpoint(path, _read_file(path))


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The contents of a checkpoint of either form, as one process would have written them.

    Raises:
        UserError: it is damaged, incomplete, or something else.
    """
    return open_checkpoint(path).whole()


def _read_file(file: Path) -> dict[str, Any]:
    try:
        return torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises whatever zipfile, pickle or its reader meet
        raise UserError(f"{file} cannot be read as a checkpoint: {error}") from error


class DamagedCheckpoint(UserError):  # noqa: N818 - names the state of the file
    """A checkpoint is damaged or incomplete, or the file is something else.

    Args:
        path: the checkpoint.
        problem: what is wrong with it.
    """

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path} cannot be read as a checkpoint: {problem}")
        self.problem = problem


def open_verified(path: str | Path) -> Checkpoint:
    """Open a checkpoint after checking every byte of it.

    torch's files are zip archives with a CRC-32 of each tensor and of the rest, which torch does
    not check when it maps a file.

    Raises:
        DamagedCheckpoint: says what is wrong.
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
        raise DamagedCheckpoint(path, f"{path.name}: {error}") from error
    if not path.is_dir():
        return Checkpoint(path, contents[path.name])
    if STATE not in contents:
        raise DamagedCheckpoint(path, f"{COMPLETE} does not list {STATE}")
    return Checkpoint(path, contents.pop(STATE), tuple(contents.values()))


def damage(path: str | Path) -> str | None:
    """Return what is wrong with a checkpoint, after reading every byte; `None` if nothing is."""
    try:
        open_verified(path)
    except DamagedCheckpoint as found:
        return found.problem
    return None


def open_undamaged(path: str | Path) -> Checkpoint:
    """Open and verify the checkpoint that `path` names; of a run, the next one if it is damaged.

    Args:
        path: a checkpoint, or a run folder: its best checkpoint is tried first, then its last,
            then the others from the newest. Each damaged one is named on standard error.

    Raises:
        UserError: there is no checkpoint, or none that is whole.
    """
    file = find_checkpoint(path, (BEST, LAST))
    others = saved_checkpoints(Path(path).expanduser())
    while True:
        try:
            return open_verified(file)
        except DamagedCheckpoint as damaged:
            others = [other for other in others if not other.samefile(file)]
            if not others:
                raise
            message = f"{file} is damaged ({damaged.problem}); {others[0]} is used instead"
            print(message, file=sys.stderr, flush=True)
            file = others[0]


def save_checkpoint(contents: dict[str, Any], path: str | Path) -> None:
    """Write a checkpoint of one file, so that no reader meets half of one.

    Args:
        contents: tensors and plain values.
        path: of the file; what had that name is replaced.

    Raises:
        OSError: it cannot be written, as on a full disk; nothing is left behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with replaced(path, durable=True) as partial:
            _write_file(contents, partial)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_file(contents: dict[str, Any], path: Path) -> None:
    """Write one file of a checkpoint in parts, and flush it to the disk.

    Raises:
        OSError: it cannot be written, as on a full disk.
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
