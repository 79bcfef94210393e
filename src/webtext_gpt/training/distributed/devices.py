"""How many devices of which kind a run gets; asking for more than there are is refused here."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from webtext_gpt.errors import UserError

LAUNCHERS = {
    "torchrun": ("TORCHELASTIC_RUN_ID", "WORLD_SIZE"),
    "srun": ("SLURM_PROCID", "SLURM_NTASKS"),
}
"""Environment variables by which a launcher is known, and that hold its number of processes."""


@dataclass(frozen=True)
class Devices:
    """What a run is spread over."""

    kind: str
    """`cpu`, `cuda` or `mps`."""
    per_node: int
    """Processes of one machine: one for each GPU, or so many on the CPU."""
    num_nodes: int = 1

    @property
    def count(self) -> int:
        """Processes over all machines."""
        return self.per_node * self.num_nodes


def find_devices(settings: Mapping[str, Any], check: bool = True) -> Devices:
    """The devices that Lightning's `accelerator`, `devices` and `num_nodes` stand for here.

    Args:
        settings: of the trainer.
        check: whether this machine has to have them. An estimate is made for any number; more
            than there are CPU cores are taken for GPUs of another machine.

    Raises:
        UserError: there is no such accelerator here, there are fewer devices than asked for, or
            the launcher has started another number of processes.
    """
    kind = device_kind(settings["accelerator"])
    num_nodes = int(settings["num_nodes"])
    available = _available(kind)
    per_node = _requested(settings["devices"], kind, available)
    if not check and settings["accelerator"] == "auto" and per_node > available:
        kind = "cuda"
    if check:
        if kind != "cpu" and not available:
            raise UserError(
                f"trainer.accelerator={settings['accelerator']}: there is no such device here "
                "(torch sees none); use trainer.accelerator=auto"
            )
        if per_node > available:
            names = {"cpu": "CPU cores", "cuda": "GPUs"}.get(kind, f"{kind} devices")
            raise UserError(
                f"trainer.devices={settings['devices']} asks for {per_node} processes, but there "
                f"are {available} {names} here; set trainer.devices={available} or less"
                + ("" if kind != "cpu" else ", or run where there are as many GPUs")
            )
        if kind == "mps" and per_node * num_nodes > 1:
            raise UserError("Apple's GPUs train alone; set trainer.devices=1")
        _check_launcher(per_node, num_nodes)
    return Devices(kind, per_node, num_nodes)


def device_kind(accelerator: str) -> str:
    """`cuda`, `mps` or `cpu`: what Lightning's name for an accelerator stands for here.

    Raises:
        UserError: it is none of Lightning's that this project trains on.
    """
    if accelerator in ("cpu", "cuda", "mps"):
        return accelerator
    if accelerator not in ("auto", "gpu"):
        raise UserError(
            f"trainer.accelerator={accelerator!r} is not one of auto, cpu, gpu, cuda, mps"
        )
    if torch.backends.mps.is_available():
        return "mps"
    return "cuda" if torch.cuda.is_available() or accelerator == "gpu" else "cpu"


def _available(kind: str) -> int:
    if kind == "cuda":
        return torch.cuda.device_count()
    if kind == "mps":
        return int(torch.backends.mps.is_available())
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _requested(devices: Any, kind: str, available: int) -> int:
    """The number in Lightning's `devices`: a number, `auto`, -1 for all, or GPUs by index."""
    if devices == "auto":
        return available if kind == "cuda" else 1
    if isinstance(devices, str) and "," in devices:
        return len([index for index in devices.split(",") if index.strip()])
    if isinstance(devices, str | int):
        try:
            number = int(devices)
        except ValueError:
            raise UserError(
                f"trainer.devices={devices!r} is neither a number, a list of GPUs, nor auto"
            ) from None
        number = available if number == -1 else number
    else:
        number = len(devices)
    if number < 1:
        raise UserError(f"trainer.devices={devices} must be at least 1, -1 for all, or auto")
    return number


def _check_launcher(per_node: int, num_nodes: int) -> None:
    """Refuse another number of processes than torchrun or SLURM has started."""
    launcher = external_launcher()
    if launcher is not None:
        started = os.environ[LAUNCHERS[launcher][1]]
        if int(started) != per_node * num_nodes:
            raise UserError(
                f"{launcher} has started {started} processes, but trainer.devices={per_node} "
                f"x trainer.num_nodes={num_nodes} = {per_node * num_nodes}; make them agree"
            )


def external_launcher() -> str | None:
    """What has started this process and others beside it: `torchrun`, `srun`, or nothing."""
    for launcher, (marker, world_size) in LAUNCHERS.items():
        interactive = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
        started = marker in os.environ and os.environ.get(world_size)
        if started and not (launcher == "srun" and interactive):
            return launcher
    return None
