"""Distribution of training over devices: one function for each choice of `conf/strategy`.

Each function takes the run's devices, refuses those that it cannot use, and returns a
`Parallelism`. Nothing is imported or started until `Parallelism.build` is called, so that a memory
estimate and a training run read the same description.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lightning.pytorch.strategies import FSDPStrategy, Strategy

from webtext_gpt.errors import UserError
from webtext_gpt.training.distributed.devices import Devices
from webtext_gpt.training.distributed.launcher import WatchedDDPStrategy, WatchedFSDPStrategy

BUCKET = 50_000_000
"""Default number of gradient values that DeepSpeed reduces at once."""


@dataclass(frozen=True)
class Parallelism:
    """Division of the model states over devices, and the Lightning strategy that implements it."""

    build: Callable[[], str | Strategy]
    """Makes the strategy, or returns Lightning's name for it."""
    zero_stage: int | None
    """ZeRO stage, for the memory estimate: 0 for full replicas, `None` for FSDP."""
    offload: bool = False
    """Whether optimizer states, and in stage 3 parameters, are kept in CPU memory."""
    reduce_bucket_size: int = BUCKET
    """Gradient values that are reduced at once."""
    package: str | None = None
    """Optional package that `build` imports."""


def automatic(devices: Devices) -> Parallelism:
    """`strategy=auto`: one process on one device; on several, ZeRO-2 on GPUs and DDP on CPUs."""
    if devices.count == 1:
        return Parallelism(build=lambda: "auto", zero_stage=0)
    return deepspeed(devices, stage=2) if devices.kind == "cuda" else ddp(devices)


def ddp(devices: Devices, process_group_backend: str | None = None) -> Parallelism:
    """A full replica on every device; gradients are averaged (NCCL for GPUs, gloo for CPUs).

    Args:
        devices: the run's devices.
        process_group_backend: `nccl` or `gloo`; `None` means the device's default.
    """
    _refuse_other_kinds(devices, "ddp", ("cpu", "cuda"))
    # No static_graph: torch 2.13 fails on it when gradients are accumulated.
    return Parallelism(
        build=lambda: WatchedDDPStrategy(
            process_group_backend=process_group_backend,
            gradient_as_bucket_view=True,  # gradients are not copied out of the buckets
            broadcast_buffers=False,  # they are constants
        ),
        zero_stage=0,
    )


def fsdp(devices: Devices, sharding_strategy: str = "FULL_SHARD") -> Parallelism:
    """PyTorch's fully sharded data parallelism (Zhao et al. 2023), one unit per block.

    Args:
        devices: the run's devices.
        sharding_strategy: `FULL_SHARD` shards as ZeRO-3 does, `SHARD_GRAD_OP` as ZeRO-2.
    """
    hint = "; to shard on CPUs, use strategy=deepspeed_zero3"
    _refuse_other_kinds(devices, "fsdp", ("cuda",), hint)

    def build() -> Strategy:
        from torch.distributed.fsdp.wrap import ModuleWrapPolicy

        from webtext_gpt.model.gpt import Block

        return WatchedFSDPStrategy(
            auto_wrap_policy=ModuleWrapPolicy({Block}),
            sharding_strategy=sharding_strategy,
            state_dict_type="full",  # one checkpoint file, as with one process
            use_orig_params=True,  # the optimizer's groups separate matrices from gains
        )

    return Parallelism(build, zero_stage=None)


def deepspeed(
    devices: Devices,
    stage: int,
    offload: bool = False,
    reduce_bucket_size: int = BUCKET,
    allgather_bucket_size: int = 200_000_000,
) -> Parallelism:
    """DeepSpeed's ZeRO (Rajbhandari et al. 2020) on GPUs or CPU processes.

    Args:
        devices: the run's devices.
        stage: 1 divides optimizer states over devices, 2 also gradients, 3 also parameters.
        offload: keep optimizer states, and in stage 3 parameters, in CPU memory.
        reduce_bucket_size: gradient values that are reduced at once.
        allgather_bucket_size: parameter values that are gathered at once.
    """
    _refuse_other_kinds(devices, f"deepspeed_zero{stage}", ("cpu", "cuda"))
    on_gpu = devices.kind == "cuda"

    def build() -> Strategy:
        if not on_gpu:
            os.environ["DS_ACCELERATOR"] = "cpu"  # read when deepspeed is imported
        from webtext_gpt.training.distributed.zero import ZeroStrategy, zero_config

        config = zero_config(
            stage,
            on_gpu=on_gpu,
            offload=offload,
            reduce_bucket_size=reduce_bucket_size,
            allgather_bucket_size=allgather_bucket_size,
        )
        return ZeroStrategy(config, on_gpu=on_gpu)

    return Parallelism(
        build,
        zero_stage=stage,
        offload=offload and on_gpu,
        reduce_bucket_size=reduce_bucket_size,
        package="deepspeed",
    )


def _refuse_other_kinds(
    devices: Devices, name: str, kinds: Sequence[str], hint: str = "; use strategy=auto"
) -> None:
    if devices.kind not in kinds:
        raise UserError(
            f"strategy={name} runs on {' and '.join(kinds)}, but the devices are "
            f"{devices.kind}{hint}"
        )


def partitions_parameters(strategy: Strategy) -> bool:
    """Return whether no process holds all parameters, so that every process must run forward."""
    return isinstance(strategy, FSDPStrategy) or getattr(strategy, "zero_stage_3", False)
