"""Tensors from strangers' files: read without running anything, checked by name, then taken."""

import re
import warnings
import zipfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from webtext_gpt.errors import UserError

SHOWN = 20
"""Names that an error lists of each kind."""

FLOATS = (torch.float32, torch.float16, torch.bfloat16)
"""What a model may be stored as; each value has an fp32 that equals it."""


def read_safetensors(file: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file.

    Raises:
        UserError: the file is damaged, or something else.
    """
    try:
        with safe_open(file, framework="pt") as stream:
            return {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(f"{file} cannot be read as safetensors: {error}") from error


def read_pickle(file: Path) -> Any:
    """What `torch.save` wrote: tensors and plain values.

    Raises:
        UserError: the file would run code when unpickled, which it then has not; or is damaged.
    """
    try:
        return torch.load(
            file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file)
        )
    except Exception as error:  # torch raises whatever zipfile, pickle or its reader meet
        if match := re.search(r"GLOBAL ([\w.]+)|(?:class|function|callable) ([\w.]+)", str(error)):
            raise UserError(
                f"{file} is refused, and nothing in it was run: besides tensors it asks to call "
                f"{match[1] or match[2]}; ask its maker for safetensors"
            ) from error
        reason = str(error).partition("WeightsUnpickler error:")[2].strip() or str(error)
        raise UserError(
            f"{file} cannot be read as tensors: {reason.splitlines()[0] if reason else error!r}"
        ) from error


def take(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    names: Iterable[tuple[str, str, bool]],
    source: Path,
    may_lack: Collection[str] = (),
) -> None:
    """Give a model the tensors of a file, in fp32.

    Args:
        model: ours, on the meta device.
        tensors: by the file's names, without those that are no weights.
        names: our name, the file's, whether it stores the transpose; see `Format.renamed`.
        source: the file or folder, for messages.
        may_lack: our names of biases that the file may be without; they are zero then.

    Raises:
        UserError: a tensor is missing, unknown, of another shape or no floating-point numbers;
            all of these are listed.
    """
    rows = list(names)
    parameters = dict(model.named_parameters())
    shapes = {
        theirs: tuple(parameters[ours].T.shape if transposed else parameters[ours].shape)
        for ours, theirs, transposed in rows
    }
    optional = {theirs for ours, theirs, _ in rows if ours in may_lack}
    refuse(
        source,
        missing=[n for n in shapes if n not in tensors and n not in optional],
        unknown=[n for n in tensors if n not in shapes],
        wrong=[
            f"{name}: {tuple(tensors[name].shape)} found, {shape} expected"
            for name, shape in shapes.items()
            if name in tensors and tuple(tensors[name].shape) != shape
        ],
        not_floats=[
            f"{name}: {str(tensors[name].dtype).removeprefix('torch.')}"
            for name in shapes
            if name in tensors and tensors[name].dtype not in FLOATS
        ],
    )
    weights = {}
    for ours, theirs, transposed in rows:
        if theirs not in tensors:
            weights[ours] = torch.zeros(parameters[ours].shape)
        elif transposed:
            weights[ours] = tensors[theirs].T.float().clone(memory_format=torch.contiguous_format)
        else:
            weights[ours] = tensors[theirs].to(torch.float32, copy=True).contiguous()
    broken = [theirs for ours, theirs, _ in rows if not weights[ours].isfinite().all()]
    if broken:
        warnings.warn(f"{source} has NaN or infinity in {_listed(broken)}", stacklevel=2)
    model.load_state_dict(weights, strict=False, assign=True)


def same(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors hold the same values, NaN where the other has NaN."""
    if (first.dtype, first.shape) != (second.dtype, second.shape):
        return False
    return bool(((first == second) | (first.isnan() & second.isnan())).all())


def refuse(
    source: Path,
    *,
    missing: Collection[str] = (),
    unknown: Collection[str] = (),
    wrong: Collection[str] = (),
    not_floats: Collection[str] = (),
) -> None:
    """Raise one error for all that is wrong with a file's tensors, if anything is.

    Raises:
        UserError: lists each kind by name.
    """
    kinds = {
        "missing": missing,
        "not of this model": unknown,
        "of another shape": wrong,
        "not fp32, fp16 or bf16": not_floats,
    }
    found = [
        f"{len(names)} {kind}: {_listed(sorted(names))}" for kind, names in kinds.items() if names
    ]
    if found:
        raise UserError(f"the tensors of {source} are not those of its model\n" + "\n".join(found))


def _listed(names: Collection[str]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(list(names)[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
