"""Small exchanges between processes that do not make the CPU wait for its GPU."""

import functools

import torch
import torch.distributed as dist
from torch import Tensor


def mean_over_ranks(value: Tensor) -> Tensor:
    """Return the mean of a value over all processes; a collective operation.

    Lightning's `strategy.reduce` has a barrier before it, in which the CPU waits for the GPU.
    """
    if not _is_distributed():
        return value
    total = value.clone()
    dist.all_reduce(total)
    return total.div_(dist.get_world_size())


def greatest_over_ranks(number: int) -> int:
    """Return the greatest of the processes' numbers; a collective operation of the CPUs."""
    if not _is_distributed():
        return number
    greatest = torch.tensor(number)
    dist.all_reduce(greatest, dist.ReduceOp.MAX, group=_cpu_group(dist.group.WORLD))
    return int(greatest)


@functools.lru_cache(maxsize=1)
def _cpu_group(world: dist.ProcessGroup) -> dist.ProcessGroup:
    """Return a group of all processes that communicates between CPUs; NCCL's cannot."""
    if dist.get_backend(world) == "gloo":
        return world
    group = dist.new_group(backend="gloo")
    assert isinstance(group, dist.ProcessGroup)  # noqa: S101 - this process is in the group
    return group


def _is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
