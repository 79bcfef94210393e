"""Tensors of foreign files: read without running code, checked by name, copied into a model."""

import re
import sys
import zipfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from webtext_gpt.errors import UserError
from webtext_gpt.signatures import why_unreadable
from webtext_gpt.terminal import say
from webtext_gpt.weights.names import LINEAR

SHOWN = 20
"""Maximum number of names of each kind that an error lists."""

FLOATS = (torch.float32, torch.float16, torch.bfloat16)
"""Types that a model may be stored in; fp32 holds each of their values exactly."""

BUFFERS = re.compile(r"(transformer\.)?(h\.\d+\.attn\.(bias|masked_bias)|position_ids)")
"""Names of buffers in old files: masks, and GPT-1's positions 0, 1, 2, ..."""


_LAYERS = "every attn.c_attn, attn.c_proj, mlp.c_fc and mlp.c_proj weight, also the square ones"
_LINEAR_IN_CONV1D = (
    "The linear layers are stored as (out, in), as nn.Linear, nanoGPT and minGPT do; this format "
    f"stores (in, out), as Conv1D does. Transpose {_LAYERS}, or give the state dict as a .pt file"
)
_CONV1D_IN_LINEAR = (
    "The linear layers are stored as (in, out), as OpenAI's and Hugging Face's Conv1D does; this "
    f"format stores (out, in), as nn.Linear does. Transpose {_LAYERS}"
)


def read_safetensors(file: Path) -> dict[str, Tensor]:
    """Return all tensors of a safetensors file.

    Raises:
        UserError: the file is damaged, or not in this format.
    """
    try:
        with safe_open(file, framework="pt") as stream:
            return {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except SafetensorError as error:
        reason = why_unreadable(file) or f"{error}; if it is cut short, copy or download it again"
        raise UserError(f"{file} cannot be read as safetensors: {reason}") from error


def write_safetensors(tensors: Mapping[str, Tensor], file: Path) -> None:
    """Write tensors in fp32 to a safetensors file.

    Raises:
        OSError: the file cannot be written.
    """
    dense = {name: value.float().cpu().contiguous() for name, value in tensors.items()}
    try:
        save_file(dense, file, metadata={"format": "pt"})
    except SafetensorError as error:  # safetensors hides the errno of the OSError
        raise OSError(f"{file.name} cannot be written: {error}") from error


def read_pickle(file: Path) -> Any:
    """Return the tensors and plain values that `torch.save` wrote.

    Raises:
        UserError: the file is damaged, or would run code; none was run.
    """
    try:
        return torch.load(
            file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file)
        )
    except Exception as error:  # torch lets through any error of zipfile, pickle and its reader
        if match := re.search(r"GLOBAL ([\w.]+)|(?:class|function|callable) ([\w.]+)", str(error)):
            raise UserError(
                f"{file} is refused, and nothing in it was run: besides tensors it asks to call "
                f"{match[1] or match[2]}; ask its author for safetensors"
            ) from error
        reason = str(error).partition("WeightsUnpickler error:")[2].strip() or str(error)
        reason = why_unreadable(file) or (reason.splitlines()[0] if reason else repr(error))
        raise UserError(f"{file} cannot be read as tensors: {reason}") from error


def named_tensors(contents: Any, file: Path) -> dict[str, Tensor]:
    """Return the weights in the contents of a file by name, without buffers.

    Raises:
        UserError: the contents are not dense tensors by name.
    """
    if not isinstance(contents, dict) or not all(
        isinstance(name, str)
        and isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"  # a tensor on the meta device has no values
        for name, value in contents.items()
    ):
        raise UserError(f"{file} is not a dictionary of dense tensors by name")
    return {name: value for name, value in contents.items() if not BUFFERS.fullmatch(name)}


def drop_tied(tensors: dict[str, Tensor], head: str, embedding: str) -> bool:
    """Remove the output layer if it equals the token embedding; return whether they are tied.

    They are also tied if the file has no output layer.
    """
    if head in tensors and embedding in tensors and same(tensors[head], tensors[embedding]):
        del tensors[head]
    return head not in tensors


def take(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    names: Iterable[tuple[str, str, bool]],
    source: Path,
    may_lack: Collection[str] = (),
) -> None:
    """Copy the tensors of a file into a model, in fp32.

    Args:
        model: ours, on the meta device.
        tensors: weights by the file's names.
        names: our name, the file's name, and whether it stores the transpose; see `names.renamed`.
        source: the file or folder, for messages.
        may_lack: our names of biases that the file may omit; they become zero.

    Raises:
        UserError: tensors are missing, unknown, of another shape or not floating-point; the
            message lists all of them.
    """
    rows = list(names)
    parameters = dict(model.named_parameters())
    shapes = {
        theirs: tuple(parameters[ours].T.shape if transposed else parameters[ours].shape)
        for ours, theirs, transposed in rows
    }
    optional = {theirs for ours, theirs, _ in rows if ours in may_lack}
    wrong = {
        name: f"{name}: {tuple(tensors[name].shape)} found, {shape} expected"
        for name, shape in shapes.items()
        if name in tensors and tuple(tensors[name].shape) != shape
    }
    is_conv1d = {theirs: transposed for _, theirs, transposed in rows if theirs.endswith(LINEAR)}
    turned = [n for n in wrong if n in is_conv1d and tuple(tensors[n].shape) == shapes[n][::-1]]
    refuse(
        source,
        missing=[n for n in shapes if n not in tensors and n not in optional],
        unknown=[n for n in tensors if n not in shapes],
        wrong=[problem for name, problem in wrong.items() if name not in turned],
        transposed=[wrong[name] for name in turned],
        is_conv1d=any(is_conv1d.values()),
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
        say(f"warning: {source} has NaN or infinity in {_listed(broken)}", sys.stderr)
    model.load_state_dict(weights, strict=False, assign=True)


def same(first: Tensor, second: Tensor) -> bool:
    """Return whether two tensors hold the same values, with NaN equal to NaN."""
    if (first.dtype, first.shape) != (second.dtype, second.shape):
        return False
    return bool(((first == second) | (first.isnan() & second.isnan())).all())


def refuse(
    source: Path,
    *,
    missing: Collection[str] = (),
    unknown: Collection[str] = (),
    wrong: Collection[str] = (),
    transposed: Collection[str] = (),
    is_conv1d: bool = False,
    not_floats: Collection[str] = (),
) -> None:
    """Raise one error that names every wrong tensor of a file, if there is any.

    Args:
        source: the file or folder.
        missing: names of weights that it lacks.
        unknown: names that the model does not have.
        wrong: names and shapes.
        transposed: names and shapes of linear layers in the layout of another format.
        is_conv1d: whether this format stores linear layers as (in, out).
        not_floats: names and types.

    Raises:
        UserError: lists the names of each kind.
    """
    kinds = {
        "missing": missing,
        "not of this model": unknown,
        "of another shape": wrong,
        "transposed": transposed,
        "not fp32, fp16 or bf16": not_floats,
    }
    found = [
        f"{len(names)} {kind}: {_listed(sorted(names))}" for kind, names in kinds.items() if names
    ]
    if transposed:
        found.append(_LINEAR_IN_CONV1D if is_conv1d else _CONV1D_IN_LINEAR)
    if found:
        raise UserError(f"the tensors of {source} do not fit its model\n" + "\n".join(found))


def _listed(names: Collection[str]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(list(names)[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
