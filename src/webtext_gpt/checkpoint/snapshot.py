"""Copy a checkpoint's contents to CPU memory, so that it can be written while training goes on."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

Place = tuple[torch.device, int, int]
"""Device, address and bytes of a storage."""


def snapshot(contents: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a checkpoint on the CPU, from which the same bytes are written.

    Tensors that share memory, such as tied weights, share it in the copy too. Copies from a GPU go
    to pinned memory, which is several times as fast.

    Args:
        contents: tensors and plain values, in dicts, lists and tuples.
    """
    memo: dict[int, Any] = {}
    storages: dict[Place, Tensor] = {}
    for tensor in tensors(contents):
        memo[id(tensor)] = _copied(tensor, storages)
    for device in {device for device, *_ in storages if device.type == "cuda"}:
        torch.cuda.synchronize(device)  # copies from GPUs were only begun
    copied: dict[str, Any] = copy.deepcopy(contents, memo)  # takes the tensors from `memo`
    return copied


def stored_bytes(contents: dict[str, Any]) -> int:
    """Return the bytes of a checkpoint's tensors; those that share memory count once."""
    return sum(size for _, _, size in {_place(tensor) for tensor in tensors(contents)})


def tensors(value: object) -> Iterator[Tensor]:
    """Yield the tensors in nested dicts, lists and tuples."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from tensors(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from tensors(inner)


def _place(tensor: Tensor) -> Place:
    storage = tensor.untyped_storage()
    return tensor.device, storage.data_ptr(), storage.nbytes()


def _copied(tensor: Tensor, storages: dict[Place, Tensor]) -> Tensor:
    """Return a tensor on a copy of its whole storage, since that is what torch writes."""
    place = _place(tensor)
    if place not in storages or not place[2]:  # empty storages all have the address 0
        device, _, size = place
        source = torch.empty(0, dtype=torch.uint8, device=device).set_(tensor.untyped_storage())
        target = torch.empty(size, dtype=torch.uint8, pin_memory=tensor.is_cuda)
        storages[place] = target.copy_(source, non_blocking=tensor.is_cuda)
    return torch.empty(0, dtype=tensor.dtype).set_(
        storages[place].untyped_storage(), tensor.storage_offset(), tensor.size(), tensor.stride()
    )
