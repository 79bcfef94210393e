"""The files of a Hugging Face folder: `config.json`, and weights in one file or in shards."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from webtext_gpt.errors import UserError
from webtext_gpt.files import new_folder, read_text, remove, sync_file
from webtext_gpt.weights.tensors import (
    named_tensors,
    read_pickle,
    read_safetensors,
    write_safetensors,
)

CONFIG = "config.json"
SAFETENSORS = "model.safetensors"
WEIGHT_FILES = (SAFETENSORS, "pytorch_model.bin")
STALE = re.compile(
    r"(model|pytorch_model)(-\d+-of-\d+)?\.(safetensors|bin)(\.index\.json)?"
    r"|(added_tokens|vocab|generation_config)\.json|merges\.txt|chat_template\.jinja"
)
"""Files of another model that a reader would use instead of ours, or together with them."""


def read_config(folder: Path) -> dict[str, Any]:
    """Return the fields of `config.json`.

    Raises:
        UserError: it is missing, or not a JSON object.
    """
    file = folder / CONFIG
    if not file.is_file():
        raise UserError(f"{folder} has no {CONFIG}")
    return _json_object(file)


def architecture(fields: Mapping[str, Any]) -> str:
    """Return the first class that a `config.json` names, or a placeholder if it names none."""
    named = fields.get("architectures")
    return str(named[0]) if isinstance(named, list) and named else "a model without architectures"


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return the weights of a folder by name, from safetensors if it has them, else from pickles.

    Raises:
        UserError: there is no file of weights, it is damaged, or it would run code.
    """
    for name in WEIGHT_FILES:
        single, index = folder / name, folder / f"{name}.index.json"
        files = [single] if single.is_file() else _indexed(index) if index.is_file() else []
        if files:
            read = read_safetensors if name == SAFETENSORS else read_pickle
            tensors: dict[str, Tensor] = {}
            for file in files:
                part = named_tensors(read(file), file)
                if twice := sorted(part.keys() & tensors.keys()):
                    raise UserError(f"{file} holds {twice[0]}, which another shard holds too")
                tensors.update(part)
            return tensors
    raise UserError(f"{folder} holds neither {' nor '.join(WEIGHT_FILES)}, nor an index of shards")


def _indexed(index: Path) -> list[Path]:
    """Return the files of a sharded model, which must be in the folder of its index."""
    weight_map = _json_object(index).get("weight_map")
    names = sorted(set(map(str, weight_map.values()))) if isinstance(weight_map, dict) else []
    if not names:
        raise UserError(f"{index} has no weight_map")
    for name in names:
        if Path(name).name != name or not (index.parent / name).is_file():
            raise UserError(f"{index} names {name!r}, which is not a file in the same folder")
    return [index.parent / name for name in names]


def _json_object(file: Path) -> dict[str, Any]:
    text = read_text(file)
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers and nesting beyond Python's limits
        raise UserError(f"{file} is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise UserError(f"{file} is not a JSON object")
    return fields


def shards(weights: Mapping[str, Tensor], max_bytes: int) -> dict[str, dict[str, Tensor]]:
    """Divide weights, in order, into files of at most `max_bytes`; return them by file name."""
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
        return {SAFETENSORS: groups[0]}
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
    """Write a model's files under a temporary folder name, then rename the folder.

    Args:
        folder: destination; new or empty, unless `force`.
        texts: contents of text files by name.
        weights: fp32 tensors by file name. Several files also get an index.
        force: in a folder that is not empty, replace files of these names and remove other
            weights and tokenizer files. All other files are kept.

    Raises:
        UserError: the folder is not empty.
        OSError: a file cannot be written; the folder's contents are unchanged.
    """
    refuse_occupied(folder, force)
    folder = folder.resolve()  # the target of a link, so that renaming stays on one disk
    exists = folder.exists()
    staged = folder.with_name(f".{folder.name}.new") if exists else folder
    if exists:
        remove(staged)
    with new_folder(staged) as partial:
        for name, text in texts.items():
            (partial / name).write_text(text, encoding="utf-8")
        for name, tensors in weights.items():
            write_safetensors(tensors, partial / name)
            # safetensors creates files that only their owner may read
            shutil.copymode(partial / next(iter(texts)), partial / name)
        if len(weights) > 1:
            (partial / f"{SAFETENSORS}.index.json").write_text(_index(weights), encoding="utf-8")
        for file in partial.iterdir():
            sync_file(file)
    if exists:
        _move_into(folder, staged)


def _move_into(folder: Path, staged: Path) -> None:
    """Replace the model in a folder by a staged one.

    `config.json` is moved last. An interruption leaves each new file in one of the two folders.
    """
    written = {file.name for file in staged.iterdir()}
    for name in written - {CONFIG}:
        (staged / name).replace(folder / name)
    for file in list(_stale(folder, written)):
        file.unlink()
    (staged / CONFIG).replace(folder / CONFIG)
    staged.rmdir()


def refuse_occupied(folder: Path, force: bool) -> None:
    """Refuse a destination that is a file, or, without `force`, a folder that is not empty.

    Raises:
        UserError: the destination is one of these; the message says which.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; name a folder, or a file that ends in .ckpt")
    if not force and folder.is_dir() and any(folder.iterdir()):
        raise UserError(
            f"{folder} is not empty; name another folder, or replace the model in it with "
            "force=true"
        )


def to_json(value: Any) -> str:
    """Return the text of a JSON file, indented like Hugging Face's."""
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
