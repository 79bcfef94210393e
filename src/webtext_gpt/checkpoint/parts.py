"""Checkpoints in parts: folders into which each process writes the values that it holds.

- `state.ckpt`: everything except tensors: loops, callbacks, learning rates, configuration,
  tokenizer;
- `part-00000.ckpt`, ...: the pieces of parameters of each process;
- `complete.json`: names and sizes of the files, written last.

A piece holds consecutive values of a flattened parameter in fp32, the optimizer's moments of the
same values, and the index of the first one. Any number of processes, under any strategy, can
assemble the ranges that they need from pieces, whatever the number of processes that wrote them.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from webtext_gpt.errors import UserError
from webtext_gpt.files import replaced

VERSION = 1
STATE = "state.ckpt"
COMPLETE = "complete.json"
WEIGHT = "weight"
"""Key of a parameter's values in a piece; the other keys are the optimizer's."""


@dataclass(frozen=True)
class Piece:
    """Consecutive values of one flattened parameter."""

    name: str
    """Name of the parameter in a `state_dict`."""
    start: int
    """Index of the first value in the flattened parameter."""
    values: Mapping[str, Tensor]
    """`(length,)` fp32 tensors by key: `weight`, or a moment of the optimizer such as `exp_avg`."""


def part_name(process: int) -> str:
    """Return the name of the file with one process's pieces."""
    return f"part-{process:05d}.ckpt"


def part_contents(pieces: Iterable[Piece]) -> dict[str, Any]:
    """Return the contents of a part file: plain values and tensors."""
    return {"pieces": [(p.name, p.start, dict(p.values)) for p in pieces]}


def write_complete(folder: Path, parts: int) -> None:
    """Write `complete.json` to the disk, after all other files of a folder are written."""
    names = [STATE, *map(part_name, range(parts))]
    manifest = {
        "format": "webtext-gpt checkpoint in parts",
        "version": VERSION,
        "files": {name: (folder / name).stat().st_size for name in names},
    }
    with replaced(folder / COMPLETE, durable=True) as partial:
        partial.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def files_of(folder: Path) -> dict[Path, int]:
    """Return the files of a complete folder with their sizes in bytes.

    Raises:
        UserError: the folder is not complete, or has another version of the format.
    """
    try:
        manifest = json.loads((folder / COMPLETE).read_text(encoding="utf-8"))
        if manifest["version"] != VERSION:
            raise UserError(
                f"{folder} has version {manifest['version']} of the format, but this program "
                f"reads version {VERSION}"
            )
        return {folder / name: size for name, size in manifest["files"].items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{folder} is not complete: {error}") from error


class SavedParameters:
    """Parameters and optimizer states, assembled from pieces on demand.

    Args:
        pieces: pieces of all parameters, in any order. Their tensors may be memory-mapped; `read`
            copies them.
    """

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self._pieces: dict[str, list[Piece]] = {}
        for piece in pieces:
            self._pieces.setdefault(piece.name, []).append(piece)
        for pieces_of_parameter in self._pieces.values():
            pieces_of_parameter.sort(key=lambda piece: piece.start)

    def keys(self, name: str) -> list[str]:
        """Return the keys of the optimizer's moments saved for a parameter."""
        return [key for key in self._pieces[name][0].values if key != WEIGHT]

    def read(self, name: str, key: str, start: int, length: int) -> Tensor:
        """Return a range of values of a flattened parameter, or of a moment of it.

        Args:
            name: the parameter.
            key: `weight`, or one of `keys(name)`.
            start: index of the first value.
            length: number of values.

        Raises:
            UserError: some of the values were not saved.
        """
        found = torch.empty(length)
        filled = 0
        for piece in self._pieces.get(name, []):
            values = piece.values[key]
            begin = max(start, piece.start)
            end = min(start + length, piece.start + len(values))
            if begin < end:
                found[begin - start : end - start] = values[begin - piece.start : end - piece.start]
                filled += end - begin
        if filled != length:
            raise UserError(f"the checkpoint lacks {length - filled:,} of the values of {name}")
        return found


def read_pieces(contents: Iterable[dict[str, Any]]) -> Iterator[Piece]:
    """Yield the pieces in the contents of part files."""
    for part in contents:
        for name, start, values in part["pieces"]:
            yield Piece(name, start, values)


def pieces_of_file(checkpoint: dict[str, Any], names: list[list[str]]) -> Iterator[Piece]:
    """Yield the parameters of a single-file checkpoint, each as one piece.

    Args:
        checkpoint: contents of the file.
        names: names of the parameters in each parameter group of the optimizer.
    """
    (optimizer,) = checkpoint["optimizer_states"]
    numbers = [number for group in optimizer["param_groups"] for number in group["params"]]
    for number, name in zip(numbers, chain.from_iterable(names), strict=True):
        state = optimizer["state"].get(number, {})
        moments = {k: v.flatten() for k, v in state.items() if torch.is_tensor(v) and v.dim()}
        yield Piece(name, 0, {WEIGHT: checkpoint["state_dict"][name].flatten(), **moments})
    trained = set(chain.from_iterable(names))
    for name, value in checkpoint["state_dict"].items():
        if name not in trained:  # frozen, or tied to a trained one
            yield Piece(name, 0, {WEIGHT: value.flatten()})


def consolidated(
    state: dict[str, Any], saved: SavedParameters, with_optimizer: bool = True
) -> dict[str, Any]:
    """Return a folder's contents in the layout of a single file; tied weights share one tensor.

    Args:
        state: contents of `state.ckpt`.
        saved: the folder's pieces.
        with_optimizer: include the optimizer's state.
    """
    parts = state["parts"]
    weights = {
        name: saved.read(name, WEIGHT, 0, _numel(shape)).view(shape)
        for name, shape in parts["shapes"].items()
    }
    weights.update({alias: weights[name] for alias, name in parts["tied"].items()})
    contents = {key: value for key, value in state.items() if key != "parts"}
    contents["state_dict"] = weights
    if with_optimizer:
        contents["optimizer_states"] = [_optimizer_state(parts, saved)]
    return contents


def _optimizer_state(parts: dict[str, Any], saved: SavedParameters) -> dict[str, Any]:
    states: dict[int, dict[str, Tensor]] = {}
    groups = []
    number = 0
    for group in parts["groups"]:
        names = group["names"]
        groups.append({k: v for k, v in group.items() if k != "names"})
        groups[-1]["params"] = list(range(number, number + len(names)))
        for name in names:
            shape = parts["shapes"][name]
            moments = {
                key: saved.read(name, key, 0, _numel(shape)).view(shape) for key in saved.keys(name)
            }
            if moments:
                states[number] = {"step": torch.tensor(float(parts["step"])), **moments}
            number += 1
    return {"state": states, "param_groups": groups}


def _numel(shape: Iterable[int]) -> int:
    return torch.Size(shape).numel()
