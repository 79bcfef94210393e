"""A folder of weights: all of it under its name, or none."""

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from webtext_gpt.errors import UserError
from webtext_gpt.weights.folder import CONFIG

SINGLE = "model.safetensors"
INDEX = f"{SINGLE}.index.json"
STALE = re.compile(
    r"(model|pytorch_model)(-\d+-of-\d+)?\.(safetensors|bin)(\.index\.json)?"
    r"|(added_tokens|vocab|generation_config)\.json|merges\.txt|chat_template\.jinja"
)
"""Files of another model that a reader would prefer to ours, or mix with them."""


def shards(weights: Mapping[str, Tensor], max_bytes: int) -> dict[str, dict[str, Tensor]]:
    """File names, and the weights of each: as many in order as fit into `max_bytes`."""
    groups: list[dict[str, Tensor]] = [{}]
    room = max_bytes
    for name, value in weights.items():
        size = value.numel() * 4
        if size > room and groups[-1]:
            groups.append({})
            room = max_bytes
        groups[-1][name] = value
        room -= size
    if len(groups) == 1:
        return {SINGLE: groups[0]}
    return {
        f"model-{i:05d}-of-{len(groups):05d}.safetensors": group
        for i, group in enumerate(groups, start=1)
    }


def write_folder(
    folder: Path,
    texts: Mapping[str, str],
    weights: Mapping[str, Mapping[str, Tensor]],
    force: bool,
) -> None:
    """Write files aside, then rename them into place.

    Args:
        folder: new or empty, unless `force`.
        texts: file names and contents.
        weights: file names and fp32 tensors; with an index where there are several.
        force: replace files of these names, and other weights, in a folder that is not empty;
            whatever else is in it stays.

    Raises:
        UserError: the folder is not empty.
        OSError: a file cannot be written; what was there stays.
    """
    refuse_occupied(folder, force)
    folder = folder.resolve()  # a link's target, so that what is aside is on the same disk
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        for name, text in texts.items():
            (partial / name).write_text(text, encoding="utf-8")
        for name, tensors in weights.items():
            _save_safetensors(tensors, partial / name)
            # safetensors writes files that only their owner may read
            shutil.copymode(partial / next(iter(texts)), partial / name)
        if len(weights) > 1:
            (partial / INDEX).write_text(_index(weights), encoding="utf-8")
        for file in partial.iterdir():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if not folder.exists():
        partial.replace(folder)
        return
    # From here on an interruption leaves what is new in the one folder or the other.
    written = {file.name for file in partial.iterdir()}
    for name in written - {CONFIG}:
        (partial / name).replace(folder / name)
    for file in list(_stale(folder, written)):
        file.unlink()
    (partial / CONFIG).replace(folder / CONFIG)
    partial.rmdir()


def refuse_occupied(folder: Path, force: bool) -> None:
    """Refuse a file, and unless `force` a folder that is not empty.

    Raises:
        UserError: says which.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; name a folder, or a file that ends in .ckpt")
    if not force and folder.is_dir() and any(folder.iterdir()):
        raise UserError(
            f"{folder} is not empty; name another folder, or replace the model in it with "
            "force=true"
        )


def to_json(value: Any) -> str:
    """The text of a JSON file, as Hugging Face indents it."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _stale(folder: Path, written: set[str]) -> Iterator[Path]:
    for file in folder.iterdir():
        if STALE.fullmatch(file.name) and file.name not in written:
            yield file


def _index(weights: Mapping[str, Mapping[str, Tensor]]) -> str:
    weight_map = {name: file for file, tensors in weights.items() for name in tensors}
    size = sum(value.numel() * 4 for tensors in weights.values() for value in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))}
    return to_json(index)


def _save_safetensors(tensors: Mapping[str, Tensor], file: Path) -> None:
    dense = {name: value.float().cpu().contiguous() for name, value in tensors.items()}
    try:
        save_file(dense, file, metadata={"format": "pt"})
    except SafetensorError as error:  # it hides the error's number, and says the rest
        raise OSError(f"{file.name} cannot be written: {error}") from error
