"""Find the devices that a run uses; refuse a request for more than there are."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from webtext_gpt.errors import UserError

LAUNCHERS = {
    "torchrun": ("TORCHELASTIC_RUN_ID", "WORLD_SIZE"),
    "srun": ("SLURM_PROCID", "SLURM_NTASKS"),
}
"""For each external launcher, the variable that reveals it and the one with its process count."""


@dataclass(frozen=True)
class Devices:
    """The devices that a run uses, with one process each."""

    kind: str
    """`cpu`, `cuda` or `mps`."""
    per_node: int
    """Processes on one machine."""
    num_nodes: int = 1
    indices: tuple[int, ...] | None = None
    """GPUs of the machine to use; `None` means the first `per_node`."""

    @property
    def count(self) -> int:
        """Processes over all machines."""
        return self.per_node * self.num_nodes

    @property
    def for_lightning(self) -> int | list[int]:
        """The value of Lightning's `devices` argument."""
        return self.per_node if self.indices is None else list(self.indices)


def find_devices(
    accelerator: str, devices: str | int | Sequence[int], num_nodes: int = 1, *, check: bool = True
) -> Devices:
    """Return the devices that Lightning's settings of the same names select on this machine.

    Args:
        accelerator: `auto`, `cpu`, `gpu`, `cuda` or `mps`.
        devices: a number, `auto`, -1 for all, or the indices of GPUs.
        num_nodes: number of machines.
        check: require this machine to have the devices. If false, as for an estimate, any number
            is accepted; more devices than CPU cores are taken for GPUs of another machine.

    Raises:
        UserError: this machine lacks the accelerator or has fewer devices than requested, or an
            external launcher has started a different number of processes.
    """
    kind = device_kind(accelerator)
    available = _available(kind)
    per_node, indices = _requested(devices, kind, available)
    if not check and accelerator == "auto" and per_node > available:
        kind = "cuda"
    if check:
        if kind != "cpu" and not available:
            raise UserError(
                f"trainer.accelerator={accelerator}: there is no such device here "
                "(torch sees none); use trainer.accelerator=auto"
            )
        if per_node > available:
            names = {"cpu": "CPU cores", "cuda": "GPUs"}.get(kind, f"{kind} devices")
            raise UserError(
                f"trainer.devices={devices} asks for {per_node} processes, but there "
                f"are {available} {names} here; set trainer.devices={available} or less"
                + ("" if kind != "cpu" else ", or run where there are as many GPUs")
            )
        if kind == "mps" and per_node * num_nodes > 1:
            raise UserError("Apple's GPUs cannot train together; set trainer.devices=1")
        _check_launcher(per_node, num_nodes)
    return Devices(kind, per_node, num_nodes, indices)


def device_kind(accelerator: str) -> str:
    """Return `cuda`, `mps` or `cpu` for Lightning's name of an accelerator.

    Raises:
        UserError: the name is not one that this project trains on.
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


def _requested(
    devices: str | int | Sequence[int], kind: str, available: int
) -> tuple[int, tuple[int, ...] | None]:
    """Return the number of processes and, if GPUs are named by index, their indices."""
    if devices == "auto":
        return (available if kind == "cuda" else 1), None
    if isinstance(devices, str) and "," not in devices:
        try:
            devices = int(devices)
        except ValueError:
            raise UserError(
                f"trainer.devices={devices!r} is neither a number, a list of GPUs, nor auto"
            ) from None
    if isinstance(devices, int):
        number, indices = (available if devices == -1 else devices), None
    else:
        listed = devices.split(",") if isinstance(devices, str) else devices
        named = tuple(int(index) for index in listed if str(index).strip())
        if len(set(named)) < len(named):
            raise UserError(f"trainer.devices={list(named)} names a device twice")
        number = len(named)
        indices = named if kind == "cuda" else None  # CPU processes have no index
    if number < 1:
        raise UserError(f"trainer.devices={devices} must be at least 1, -1 for all, or auto")
    return number, indices


def _check_launcher(per_node: int, num_nodes: int) -> None:
    """Refuse a number of processes that differs from the number torchrun or SLURM has started."""
    launcher = external_launcher()
    if launcher is not None:
        started = os.environ[LAUNCHERS[launcher][1]]
        if int(started) != per_node * num_nodes:
            raise UserError(
                f"{launcher} has started {started} processes, but trainer.devices={per_node} "
                f"x trainer.num_nodes={num_nodes} = {per_node * num_nodes}; make them agree"
            )


def external_launcher() -> str | None:
    """Return the launcher that started this process, `torchrun` or `srun`, or `None`."""
    for launcher, (marker, world_size) in LAUNCHERS.items():
        interactive = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
        started = marker in os.environ and os.environ.get(world_size)
        if started and not (launcher == "srun" and interactive):
            return launcher
    return None
