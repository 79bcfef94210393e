"""Checkpoints in parts: a folder into which every process writes the values that it holds.

- `state.ckpt`: all but values: loops, callbacks, learning rates, configuration, tokenizer;
- `part-00000.ckpt`, ...: one of each process, its pieces of parameters;
- `complete.json`: the files and their sizes, written last.

A piece is a run of consecutive values of a flattened parameter in fp32, with the optimizer's
moments for the same values. Where it begins is written beside it, so that any number of processes
under any strategy can put together what it needs, whichever processes wrote the folder.
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
"""Key of a piece for the parameter's own values; the others are the optimizer's."""


@dataclass(frozen=True)
class Piece:
    """Consecutive values of one flattened parameter."""

    name: str
    """Of the parameter, as in a `state_dict`."""
    start: int
    """Index of the first value in the flattened parameter."""
    values: Mapping[str, Tensor]
    """By key, `weight` or one of the optimizer's; one-dimensional, of one length, fp32."""


def part_name(process: int) -> str:
    """File of one process's pieces."""
    return f"part-{process:05d}.ckpt"


def part_contents(pieces: Iterable[Piece]) -> dict[str, Any]:
    """What a part file holds: plain values and tensors."""
    return {"pieces": [(p.name, p.start, dict(p.values)) for p in pieces]}


def write_complete(folder: Path, parts: int) -> None:
    """Declare a folder complete, on the disk itself: its files are written, and will not change."""
    names = [STATE, *map(part_name, range(parts))]
    manifest = {
        "format": "webtext-gpt checkpoint in parts",
        "version": VERSION,
        "files": {name: (folder / name).stat().st_size for name in names},
    }
    with replaced(folder / COMPLETE, durable=True) as partial:
        partial.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def files_of(folder: Path) -> dict[Path, int]:
    """The files of a complete folder, and the size that each has to have in bytes.

    Raises:
        UserError: the folder is not complete, or of another version.
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
    """Values of parameters and of their optimizer states, put together from pieces.

    Args:
        pieces: of all parameters, in any order. Tensors may be memory-mapped; they are copied
            when they are read.
    """

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self._pieces: dict[str, list[Piece]] = {}
        for piece in pieces:
            self._pieces.setdefault(piece.name, []).append(piece)
        for of_one in self._pieces.values():
            of_one.sort(key=lambda piece: piece.start)

    def keys(self, name: str) -> list[str]:
        """What is saved of a parameter beside its values: the optimizer's moments."""
        return [key for key in self._pieces[name][0].values if key != WEIGHT]

    def read(self, name: str, key: str, start: int, length: int) -> Tensor:
        """`length` values of a flattened parameter, or of its optimizer state, from `start`.

        Raises:
            UserError: some of them were not saved.
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
    """The pieces of part files, given what they hold."""
    for part in contents:
        for name, start, values in part["pieces"]:
            yield Piece(name, start, values)


def pieces_of_whole(checkpoint: dict[str, Any], names: list[list[str]]) -> Iterator[Piece]:
    """The parameters of a checkpoint of one file, each as one piece.

    Args:
        checkpoint: its contents.
        names: of the parameters of each group of the optimizer.
    """
    (optimizer,) = checkpoint["optimizer_states"]
    numbers = [number for group in optimizer["param_groups"] for number in group["params"]]
    for number, name in zip(numbers, chain.from_iterable(names), strict=True):
        state = optimizer["state"].get(number, {})
        moments = {k: v.flatten() for k, v in state.items() if torch.is_tensor(v) and v.dim()}
        yield Piece(name, 0, {WEIGHT: checkpoint["state_dict"][name].flatten(), **moments})
    trained = set(chain.from_iterable(names))
    for name, value in checkpoint["state_dict"].items():
        if name not in trained:  # frozen, or tied to one that is trained
            yield Piece(name, 0, {WEIGHT: value.flatten()})


def consolidated(
    state: dict[str, Any], saved: SavedParameters, with_optimizer: bool = True
) -> dict[str, Any]:
    """What one process would have written into one file; tied weights are one tensor again.

    Args:
        state: contents of `state.ckpt`.
        saved: the folder's pieces.
        with_optimizer: else the optimizer's states are left out.
    """
    parts = state["parts"]
    weights = {
        name: saved.read(name, WEIGHT, 0, _numel(shape)).view(shape)
        for name, shape in parts["shapes"].items()
    }
    weights.update({alias: weights[name] for alias, name in parts["tied"].items()})
    whole = {key: value for key, value in state.items() if key != "parts"}
    whole["state_dict"] = weights
    if with_optimizer:
        whole["optimizer_states"] = [_whole_optimizer(parts, saved)]
    return whole


def _whole_optimizer(parts: dict[str, Any], saved: SavedParameters) -> dict[str, Any]:
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
