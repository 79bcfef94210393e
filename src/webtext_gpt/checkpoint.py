"""Checkpoints: written so that they are whole or absent, read without running anything."""

import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, ClassifierConfig, GPTClassifier, GPTConfig
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.weights import is_foreign, load

FOLDER = "checkpoints"
LAST = "last.ckpt"
BEST = "best.ckpt"


def describe(model: GPT | GPTClassifier, tokenizer: Tokenizer) -> dict[str, Any]:
    """What a checkpoint needs beside the weights to be read alone; plain values only."""
    described: dict[str, Any] = {"tokenizer": tokenizer.to_json()}
    if isinstance(model, GPTClassifier):
        described["classifier_config"] = model.config.to_dict()
        model = model.body
    return {"model_config": model.config.to_dict(), **described}


def save_model(model: GPT | GPTClassifier, tokenizer: Tokenizer, path: str | Path) -> None:
    """Write a checkpoint of a model that is not in training, for `load_model`.

    Raises:
        OSError: the file cannot be written; nothing is left behind.
    """
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    contents = {"state_dict": weights, **describe(model, tokenizer)}
    AtomicCheckpointIO().save_checkpoint(contents, path)


def load_model(path: str | Path) -> tuple[GPT, Tokenizer]:
    """The model, in evaluation mode on the CPU, and the tokenizer of a run or checkpoint file.

    Args:
        path: a run's folder (its best checkpoint, or else its last) or a `.ckpt` file; or what
            `webtext_gpt.weights.load` reads: a Hugging Face folder or hub name, nanoGPT's file.

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
    """As `load_model`, of a checkpoint of ours, with its classification head if it has one."""
    file = find_checkpoint(path, (BEST, LAST))
    checkpoint = read_checkpoint(file)
    try:
        body = GPT(GPTConfig(**checkpoint["model_config"]))
        head = checkpoint.get("classifier_config")
        model = GPTClassifier(body, ClassifierConfig(**head)) if head is not None else body
        weights = checkpoint["state_dict"]
        model.load_state_dict({k.removeprefix("model."): v for k, v in weights.items()})
        tokenizer = Tokenizer.from_json(checkpoint["tokenizer"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise UserError(f"{file} is not a checkpoint of webtext-gpt: {error}") from error
    return model.eval(), tokenizer


def find_checkpoint(path: str | Path, names: tuple[str, ...]) -> Path:
    """The file that `path` names: itself, or the first of `names` that a run's folder has.

    Raises:
        UserError: there is none.
    """
    path = Path(path).expanduser()
    if path.is_file():
        return path
    for name in names:
        if (path / FOLDER / name).is_file():
            return path / FOLDER / name
    if not path.exists():
        raise UserError(f"{path} does not exist (looked from {Path.cwd()})")
    raise UserError(f"{path} holds no checkpoint: neither {' nor '.join(names)} in {FOLDER}/")


def read_checkpoint(file: str | Path) -> dict[str, Any]:
    """The contents of a checkpoint file: tensors and plain values, never code.

    Raises:
        UserError: the file is damaged, or holds something else.
    """
    try:
        return torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises whatever zipfile, pickle or its reader meet
        raise UserError(f"{file} cannot be read as a checkpoint: {error}") from error


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its name and renames it, so that no reader meets half of one."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write the file.

        Raises:
            OSError: it cannot be written, as on a full disk; nothing is left behind.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        try:
            with partial.open("wb") as stream:
                torch.save(checkpoint, stream)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(path)
        except RuntimeError as error:  # torch's writer hides what the file system said
            if isinstance(error.__context__, OSError):
                cause = error.__context__
                raise OSError(cause.errno, cause.strerror, str(path)) from error
            raise
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error
        finally:
            partial.unlink(missing_ok=True)
