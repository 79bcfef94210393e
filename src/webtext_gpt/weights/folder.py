"""What is in a Hugging Face folder: the fields of `config.json`, and tensors by name."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from webtext_gpt.errors import UserError
from webtext_gpt.tokenizer import read_text
from webtext_gpt.weights.tensors import read_pickle, read_safetensors

CONFIG = "config.json"
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")

# Masks that old files hold as buffers, and GPT-1's positions 0, 1, 2, ...
BUFFERS = re.compile(r"(transformer\.)?(h\.\d+\.attn\.(bias|masked_bias)|position_ids)")


def read_config(folder: Path) -> dict[str, Any]:
    """The fields of `config.json`.

    Raises:
        UserError: it is missing, or no JSON object.
    """
    file = folder / CONFIG
    if not file.is_file():
        raise UserError(f"{folder} has no {CONFIG}")
    return _json_object(file)


def is_classifier(fields: Mapping[str, Any]) -> bool:
    """Whether a `config.json` is that of a sequence classifier."""
    return architecture(fields).endswith("ForSequenceClassification")


def architecture(fields: Mapping[str, Any]) -> str:
    """The class that a `config.json` names first."""
    named = fields.get("architectures")
    return str(named[0]) if isinstance(named, list) and named else "a model without architectures"


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The tensors of a folder that are weights, safetensors before pickles.

    Raises:
        UserError: there is no file of weights, it is damaged, or it would run code.
    """
    for name in WEIGHT_FILES:
        single, index = folder / name, folder / f"{name}.index.json"
        files = [single] if single.is_file() else _indexed(index) if index.is_file() else []
        if files:
            read = read_safetensors if name.endswith(".safetensors") else read_pickle
            tensors: dict[str, Tensor] = {}
            for file in files:
                part = named_tensors(read(file), file)
                if twice := sorted(part.keys() & tensors.keys()):
                    raise UserError(f"{file} holds {twice[0]}, which another shard holds too")
                tensors.update(part)
            return tensors
    raise UserError(f"{folder} holds neither {' nor '.join(WEIGHT_FILES)}, nor an index of shards")


def _indexed(index: Path) -> list[Path]:
    """The files of a sharded model, all of them beside its index."""
    weight_map = _json_object(index).get("weight_map")
    names = sorted(set(map(str, weight_map.values()))) if isinstance(weight_map, dict) else []
    if not names:
        raise UserError(f"{index} has no weight_map")
    for name in names:
        if Path(name).name != name or not (index.parent / name).is_file():
            raise UserError(f"{index} names {name!r}, which is no file beside it")
    return [index.parent / name for name in names]


def named_tensors(contents: Any, file: Path) -> dict[str, Tensor]:
    """The weights by name among what a file holds.

    Raises:
        UserError: it holds something else.
    """
    if not isinstance(contents, dict) or not all(
        isinstance(name, str)
        and isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"  # on the meta device there would be no values
        for name, value in contents.items()
    ):
        raise UserError(f"{file} is not a dictionary of dense tensors by name")
    return {name: value for name, value in contents.items() if not BUFFERS.fullmatch(name)}


def _json_object(file: Path) -> dict[str, Any]:
    try:
        fields = json.loads(read_text(file))
    except (ValueError, RecursionError) as error:  # bad JSON, or numbers and depths beyond reason
        raise UserError(f"{file} is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise UserError(f"{file} holds no JSON object")
    return fields
