"""Checkpoints: written so that they are whole or absent, read without running anything.

A checkpoint is one file, as one process or DDP writes it, or a folder in parts, as ZeRO does
(`webtext_gpt.checkpoint.parts`). Whoever reads one need not know which.
"""

import os
import shutil
import sys
import zipfile
import zlib
from collections.abc import Mapping
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
    sync_folder,
)
from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, ClassifierConfig, GPTClassifier, GPTConfig, language_model
from webtext_gpt.model.lora import add_lora, merge_lora
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.weights import is_foreign, load

FOLDER = "checkpoints"
LAST = "last.ckpt"
BEST = "best.ckpt"
STEP_NAME = "step-{step:08d}.ckpt"
STEPS = "step-????????.ckpt"


def describe(model: GPT | GPTClassifier, tokenizer: Tokenizer) -> dict[str, Any]:
    """What a checkpoint needs beside the weights to be read alone; plain values only."""
    described: dict[str, Any] = {"tokenizer": tokenizer.to_json()}
    if isinstance(model, GPTClassifier):
        described["classifier_config"] = model.config.to_dict()
    return {"model_config": language_model(model).config.to_dict(), **described}


def save_model(model: GPT | GPTClassifier, tokenizer: Tokenizer, path: str | Path) -> None:
    """Write a checkpoint of a model that is not in training, for `load_model`.

    Raises:
        OSError: the file cannot be written; nothing is left behind.
    """
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    contents = {"state_dict": weights, **describe(model, tokenizer)}
    save_checkpoint(contents, path)


def load_model(path: str | Path) -> tuple[GPT, Tokenizer]:
    """The model, in evaluation mode on the CPU, and the tokenizer of a run or checkpoint.

    Args:
        path: a run's folder (its best checkpoint, or else its last), or a checkpoint: a `.ckpt`
            file, or a folder that ZeRO wrote; or what `webtext_gpt.weights.load` reads: a Hugging
            Face folder or hub name, nanoGPT's file.

    Raises:
        UserError: there is no checkpoint, it is a classifier's, or it is not one of ours or
            damaged.
    """
    if is_foreign(path):
        return load(path)
    model, tokenizer = load_any(path)
    if isinstance(model, GPTClassifier):
        raise UserError(f"{path} holds a classifier, not a language model")
    return model, tokenizer


def load_any(path: str | Path) -> tuple[GPT | GPTClassifier, Tokenizer]:
    """As `load_model`, of a checkpoint of ours, with its classification head if it has one.

    Of a run, a damaged checkpoint is named on standard error, and the next one taken.
    """
    file = _undamaged(path)
    checkpoint = open_checkpoint(file).whole(with_optimizer=False)
    try:
        model, tokenizer = build(checkpoint)
        weights = checkpoint["state_dict"]
        model.load_state_dict({k.removeprefix("model."): v for k, v in weights.items()})
        if checkpoint.get("lora"):
            merge_lora(model)
    except (KeyError, TypeError, RuntimeError) as error:
        raise UserError(f"{file} is not a checkpoint of webtext-gpt: {error}") from error
    return model.eval(), tokenizer


def build(checkpoint: Mapping[str, Any]) -> tuple[GPT | GPTClassifier, Tokenizer]:
    """The model of a checkpoint's plain values, its weights new, and the tokenizer."""
    body = GPT(GPTConfig(**checkpoint["model_config"]))
    head = checkpoint.get("classifier_config")
    model = GPTClassifier(body, ClassifierConfig(**head)) if head is not None else body
    if lora := checkpoint.get("lora"):
        add_lora(model, **lora)
    return model, Tokenizer.from_json(checkpoint["tokenizer"])


def saved_task(path: str | Path) -> dict[str, Any] | None:
    """Plain values of the task that a classifier of ours was trained on; `None` if not known."""
    if is_foreign(path):
        return None
    return open_checkpoint(_undamaged(path)).state.get("task")


def _undamaged(path: str | Path) -> Path:
    """The checkpoint that `path` names, or of a run the next one, where that is damaged."""
    file = find_checkpoint(path, (BEST, LAST))
    others = saved_checkpoints(Path(path).expanduser())
    while problem := damage(file):
        others = [other for other in others if not other.samefile(file)]
        if not others:
            raise UserError(f"{file} cannot be read as a checkpoint: {problem}")
        message = f"{file} is damaged ({problem}); {others[0]} is used instead"
        print(message, file=sys.stderr, flush=True)
        file = others[0]
    return file


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


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint, every byte of it read; `None` if nothing is.

    torch's files are zip archives that hold a CRC-32 of each tensor and of the rest, which
    torch itself does not look at when it maps a file.
    """
    try:
        for file, size in (files_of(path) if path.is_dir() else {path: None}).items():
            found = file.stat().st_size
            if size not in (None, found):
                return f"{file.name} has {found:,} bytes instead of {size:,}"
            with zipfile.ZipFile(file) as archive:
                if record := archive.testzip():
                    return f"{file.name}: {record} does not have its checksum"
            _read_file(file)
    except (OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        return str(error)
    except (zipfile.BadZipFile, zlib.error) as error:
        return f"{path.name}: {error}"
    return None


def publish(partial: Path, path: Path) -> None:
    """Give a finished file or folder its name; what had that name is removed."""
    old = path.with_name(f".{path.name}.old")
    if partial.is_dir() or path.is_dir():  # cannot be replaced in one step
        remove(old)
        if path.exists():
            path.rename(old)
    partial.replace(path)
    remove(old)
    sync_folder(path.parent)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


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
    partial = path.with_name(f".{path.name}.partial")
    try:
        write_file(contents, partial)
        publish(partial, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def write_file(contents: dict[str, Any], path: Path) -> None:
    """Write a file of tensors and plain values to the disk itself.

    Raises:
        OSError: it cannot be written, as on a full disk.
    """
    try:
        with path.open("wb") as stream:
            torch.save(contents, stream)
            stream.flush()
            os.fsync(stream.fileno())
    except RuntimeError as error:  # torch's writer hides what the file system said
        if isinstance(error.__context__, OSError):
            cause = error.__context__
            raise OSError(cause.errno, cause.strerror, str(path)) from error
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
