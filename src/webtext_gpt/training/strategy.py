"""How training is spread over devices: `conf/strategy`, one function a choice.

Each takes the devices that the run has, and refuses those it cannot use.
"""

from typing import Any

from lightning.pytorch.strategies import FSDPStrategy, Strategy

from webtext_gpt.errors import UserError
from webtext_gpt.training.distributed.devices import Devices
from webtext_gpt.training.distributed.launcher import WatchedDDPStrategy, WatchedFSDPStrategy

BUCKET = 50_000_000
"""Gradients that DeepSpeed reduces at once, in values, unless set otherwise."""


def automatic(devices: Devices) -> str | Strategy:
    """One process on one device; on several ZeRO-2 between GPUs, DDP between CPUs."""
    if devices.count == 1:
        return "auto"
    return deepspeed(devices, stage=2) if devices.kind == "cuda" else ddp(devices)


def ddp(devices: Devices, process_group_backend: str | None = None) -> Strategy:
    """Replicas on every device, gradients averaged (NCCL between GPUs, gloo between CPUs).

    Args:
        devices: of the run.
        process_group_backend: `nccl`, `gloo`; `None` takes the device's own.
    """
    _refuse(devices, "ddp", ("cpu", "cuda"))
    # No static_graph: torch 2.13 fails on it when gradients are accumulated.
    return WatchedDDPStrategy(
        process_group_backend=process_group_backend, gradient_as_bucket_view=True
    )


def fsdp(devices: Devices, sharding_strategy: str = "FULL_SHARD") -> Strategy:
    """PyTorch's fully sharded data parallelism (Zhao et al. 2023), a unit for each block.

    Args:
        devices: of the run.
        sharding_strategy: `FULL_SHARD` as ZeRO-3, `SHARD_GRAD_OP` as ZeRO-2.
    """
    _refuse(devices, "fsdp", ("cuda",), "; on CPUs, ZeRO shards too: strategy=deepspeed_zero3")
    from torch.distributed.fsdp.wrap import ModuleWrapPolicy

    from webtext_gpt.model.gpt import Block

    return WatchedFSDPStrategy(
        auto_wrap_policy=ModuleWrapPolicy({Block}),
        sharding_strategy=sharding_strategy,
        state_dict_type="full",  # one file, as with one process
        use_orig_params=True,  # the optimizer's groups know matrices from gains
    )


def deepspeed(
    devices: Devices,
    stage: int,
    offload: bool = False,
    reduce_bucket_size: int = BUCKET,
    allgather_bucket_size: int = 200_000_000,
) -> Strategy:
    """DeepSpeed's ZeRO (Rajbhandari et al. 2020), between GPUs or CPU processes.

    Args:
        devices: of the run.
        stage: 1 divides the optimizer's states over devices, 2 gradients too, 3 parameters too.
        offload: keep optimizer states, and with stage 3 parameters, in the machine's memory.
        reduce_bucket_size: gradients that are reduced at once, in values.
        allgather_bucket_size: parameters that are gathered at once, in values.
    """
    _refuse(devices, f"deepspeed_zero{stage}", ("cpu", "cuda"))
    from webtext_gpt.training.distributed.zero import ZeroStrategy, zero_config

    config = zero_config(
        stage,
        on_gpu=devices.kind == "cuda",
        offload=offload,
        reduce_bucket_size=reduce_bucket_size,
        allgather_bucket_size=allgather_bucket_size,
    )
    return ZeroStrategy(config, on_gpu=devices.kind == "cuda")


def _refuse(devices: Devices, name: str, kinds: tuple[str, ...], instead: str = "") -> None:
    if devices.kind not in kinds:
        raise UserError(
            f"strategy={name} runs on {' and '.join(kinds)}, but the devices are "
            f"{devices.kind}{instead or '; use strategy=auto'}"
        )


def partitions_parameters(strategy: Any) -> bool:
    """Whether no process holds all parameters, so that a forward pass needs every process."""
    return isinstance(strategy, FSDPStrategy) or getattr(strategy, "zero_stage_3", False)
