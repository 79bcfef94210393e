"""Every private name of DeepSpeed that training relies on.

DeepSpeed has no public way to read or write the fp32 values that one process holds. `fragments`
yields them for stages 1, 2 and 3, and `publish_weights` copies changed values to the parameters
used for computation. `SUPPORTED` names the versions this was tested with; a missing name is
reported with that range.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import deepspeed
import torch
from torch import Tensor, nn

from webtext_gpt.errors import UserError

SUPPORTED = "deepspeed >= 0.19, < 0.20"

Engine = Any
"""`deepspeed.DeepSpeedEngine`, which has no type annotations."""


class Fragment(NamedTuple):
    """Consecutive values of one parameter that this process holds in fp32."""

    name: str
    """Name of the parameter."""
    start: int
    """Index of the first value in the flattened parameter."""
    length: int
    flat: Tensor
    """The process's fp32 values of many parameters. This tensor is the key of their optimizer
    state."""
    offset: int
    """Index of the first value in `flat`."""

    def of(self, values: Tensor) -> Tensor:
        """Return this fragment's slice of `flat`, or of a tensor of the same layout."""
        return values[self.offset : self.offset + self.length]


@contextmanager
def _supported() -> Iterator[None]:
    """Report a name that the installed DeepSpeed lacks.

    Raises:
        UserError: with the installed and the supported versions.
    """
    try:
        yield
    except (AttributeError, ImportError) as error:
        raise UserError(
            f"deepspeed {deepspeed.__version__} is installed, but webtext-gpt supports "
            f"{SUPPORTED}: {error}"
        ) from error


def fragments(engine: Engine, names: Mapping[nn.Parameter, str], rank: int) -> Iterator[Fragment]:
    """Yield the fp32 values that this process holds, of trained and of frozen parameters.

    Args:
        engine: the engine, after initialization.
        names: names of all parameters.
        rank: rank of this process. In stages 1 and 2 every process holds all frozen parameters,
            and only rank 0 yields them.
    """
    with _supported():
        zero = engine.optimizer
        frozen = [(p, name) for p, name in names.items() if not p.requires_grad]
        if engine.zero_optimization_stage() == 3:
            yield from _fragments_of_stage_3(zero, frozen, names, rank)
            return
        if rank == 0:
            for parameter, name in frozen:
                flat = parameter.detach().flatten()
                yield Fragment(name, 0, parameter.numel(), flat, 0)
        for flat, parameters in zip(
            zero.single_partition_of_fp32_groups, zero.bit16_groups, strict=True
        ):
            for parameter in parameters:
                if (mapping := parameter._hp_mapping) is not None:  # this process holds some of it
                    place, here = mapping.lp_fragment_address, mapping.hp_fragment_address
                    yield Fragment(names[parameter], place.start, place.numel, flat, here.start)


def _fragments_of_stage_3(
    zero: Any,
    frozen: Sequence[tuple[nn.Parameter, str]],
    names: Mapping[nn.Parameter, str],
    rank: int,
) -> Iterator[Fragment]:
    for parameter, name in frozen:
        start, length = _partition(parameter, rank)
        if length > 0:
            yield Fragment(name, start, length, _shard(parameter), 0)
    for parameter in _stage_3_parameters(zero):
        group, offset, _ = zero.grad_position[zero.get_param_id(parameter)]
        start, length = _partition(parameter, rank)
        if length > 0:
            flat = zero.fp32_partitioned_groups_flat[group]
            yield Fragment(names[parameter], start, length, flat, offset)


def _stage_3_parameters(zero: Any) -> Iterator[nn.Parameter]:
    for group in zero.fp16_groups:
        yield from group


def _shard(parameter: Any) -> Tensor:
    """Return a stage-3 parameter's values on this process, in the precision of computation."""
    shard: Tensor = parameter.ds_tensor
    return shard


def _partition(parameter: Any, rank: int) -> tuple[int, int]:
    """Return start and length of a process's partition of a stage-3 parameter, unpadded."""
    length = parameter.ds_tensor.ds_numel
    start = rank * length
    return start, min(length, parameter.ds_numel - start)


@torch.no_grad()
def publish_weights(engine: Engine) -> None:
    """Copy stage 3's fp32 values into the parameters used for computation.

    Other stages need nothing. Small parameters, of which every process keeps all values, are
    partitioned as at the start of training: DeepSpeed records which modules use them when it
    gathers them.
    """
    with _supported():
        if engine.zero_optimization_stage() != 3:
            return
        zero = engine.optimizer
        for parameter in _stage_3_parameters(zero):
            group, offset, length = zero.grad_position[zero.get_param_id(parameter)]
            flat = zero.fp32_partitioned_groups_flat[group]
            _shard(parameter).copy_(flat[offset : offset + length])
        if kept := zero.persistent_parameters:
            kept[0].partition(kept)


def gather_weights(engine: Engine) -> None:
    """Copy the fp32 values of stages 1 and 2 into every process's parameters, as a step does."""
    with _supported():
        engine.optimizer.update_lp_params()


def whole_shape(parameter: nn.Parameter) -> list[int]:
    """Return the shape of a parameter, whether or not stage 3 has partitioned it."""
    return list(getattr(parameter, "ds_shape", parameter.shape))


def gradient_norm(engine: Engine) -> Tensor | float:
    """Return the gradient norm of DeepSpeed's last step, before clipping.

    It is NaN if DeepSpeed skipped the step because a gradient was not finite.
    """
    with _supported():
        norm: Tensor | float = engine.get_global_grad_norm()
        return math.nan if engine.optimizer.overflow else norm


def forgo_compiled_reduction() -> None:
    """Stop DeepSpeed from compiling its shared-memory reduction, which takes a minute per start.

    Processes also spin while they wait in that reduction. In gloo's they sleep, and notice when
    another process dies.
    """
    with _supported():
        from deepspeed.accelerator import get_accelerator
        from deepspeed.ops import __compatible_ops__ as compatible

        compatible[get_accelerator().create_op_builder("ShareMemCommBuilder").NAME] = False
