"""Decide whether `torch.compile` saves time within a run, and continue without it if it fails."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor

from webtext_gpt.terminal import say
from webtext_gpt.training.length import Length
from webtext_gpt.training.precision import peak_flops

COMPILE_SECONDS = {"cpu": 60.0, "cuda": 40.0}
"""Usual time of compilation, which hardly depends on the model's width."""
SAVED = {"cpu": 0.1, "cuda": 0.4}
"""Fraction of a step's time that compilation saves; on CPUs, few kernels are memory-bound."""
USUAL_SHARE = 0.3
"""Fraction of a GPU's peak that an uncompiled step reaches."""
CPU_FLOPS = 4e10
"""FLOP/s of an uncompiled step for each thread of a CPU with AVX2."""


def chooses_compilation(
    setting: bool | str,
    length: Length,
    flops_per_step: float,
    *,
    kind: str,
    devices: int,
    partitions_parameters: bool = False,
) -> bool:
    """Return whether a run compiles its model; print why not, if only a compiler is missing.

    Nothing is measured, so that all processes of a run decide alike.

    Args:
        setting: the value of `compile`: true, false, `auto` where it saves time within the run's
            length, or `gpu`, which is `auto` on GPUs and false on CPUs.
        length: when training ends.
        flops_per_step: floating-point operations of one step over all devices.
        kind: `cpu`, `cuda` or `mps`.
        devices: number of devices.
        partitions_parameters: whether the strategy partitions parameters, which rules it out.
    """
    if isinstance(setting, bool):
        return setting
    if kind not in SAVED or (setting == "gpu" and kind != "cuda") or partitions_parameters:
        return False
    seconds = _run_seconds(length, flops_per_step / devices, kind)
    if seconds * SAVED[kind] <= COMPILE_SECONDS[kind]:
        return False
    if missing := _missing_compiler(kind):
        _report(f"none, because there is no {missing}; compile={setting} would use it")
        return False
    return True


def compiled(function: Callable[..., Tensor], setting: bool | str) -> Callable[..., Tensor]:
    """Return the function, compiled by `torch.compile`.

    Args:
        function: the function, which does not change its arguments.
        setting: the value of `compile`. Unless it is true, a function that turns out not to
            compile is called uncompiled, after one line that says so.
    """
    fast = torch.compile(function)
    if setting is True:
        return fast
    chosen: Callable[..., Tensor] | None = None  # not known before the first call

    def call(*arguments: Tensor) -> Tensor:
        nonlocal chosen
        if chosen is None:
            try:
                result: Tensor = fast(*arguments)
            except Exception as error:
                first_line = str(error).strip().partition("\n")[0]
                _report(
                    f"failed; the run continues uncompiled ({type(error).__name__}: {first_line})"
                )
                chosen = function
            else:
                chosen = fast
                return result
        return chosen(*arguments)

    return call


def _run_seconds(length: Length, flops_per_step: float, kind: str) -> float:
    """Return the estimated time of an uncompiled run on one device; infinity if it is unknown."""
    limit = float("inf") if length.max_minutes is None else 60 * length.max_minutes
    if length.max_steps < 1:  # as many steps as fit
        return limit
    speed: float | None = CPU_FLOPS * torch.get_num_threads()
    if kind == "cuda":
        peak = peak_flops(torch.device("cuda"), torch.bfloat16)
        speed = None if peak is None else USUAL_SHARE * peak
    return limit if speed is None else min(limit, length.max_steps * flops_per_step / speed)


def _missing_compiler(kind: str) -> str | None:
    """Return a program or package that torch's compiler needs and does not find, if any."""
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        return f"C++ compiler ({compiler})"
    if kind == "cuda" and importlib.util.find_spec("triton") is None:
        return "package triton"
    return None


def _report(message: str) -> None:
    if rank_zero_only.rank == 0:
        say(f"compile     {message}")
