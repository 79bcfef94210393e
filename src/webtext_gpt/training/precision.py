"""Number formats that the hardware supports, and its peak speed of matrix multiplication."""

import sys
import time

import torch
from torch import nn

from webtext_gpt.errors import UserError
from webtext_gpt.gpus import known_gpu
from webtext_gpt.settings.checks import int8_weights
from webtext_gpt.terminal import say


def best_precision(device_type: str) -> str:
    """Return `bf16-mixed` if the hardware multiplies bf16 matrices natively, else `32-true`."""
    if device_type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device_type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        native = bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
    else:
        native = False
    return "bf16-mixed" if native else "32-true"


def warn_of_emulated_bf16(setting: str, device_type: str, instead: str) -> None:
    """Print a warning if a setting asks for bf16 where torch emulates it, many times slower.

    Apple's GPUs are left out: torch does not tell which of them multiply bf16.

    Args:
        setting: the setting with its value, for example `trainer.precision=bf16-mixed`.
        device_type: `cpu`, `cuda` or `mps`.
        instead: the setting to give.
    """
    if "=bf16" not in setting or device_type not in ("cpu", "cuda"):
        return
    native = best_precision(device_type) == "bf16-mixed"
    native |= device_type == "cpu" and bool(torch.cpu.get_capabilities().get("bf16"))  # Arm's
    if not native:
        kind = "GPU" if device_type == "cuda" else "CPU"
        say(
            f"warning: {setting} will be slow: this {kind} has no bf16 instructions, so each "
            f"matrix product is emulated, many times slower than in fp32; set {instead}",
            sys.stderr,
        )


def place_for_inference(
    model: nn.Module, device: str, precision: str, weights: str = "float"
) -> None:
    """Move a model, in place, to its device and number format.

    Args:
        model: in evaluation mode.
        device: `auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`, ...
        precision: `fp32`, `bf16`, or `auto`: bf16 on GPUs that multiply it, else fp32.
        weights: `float`, or `int8` to round those of the linear layers, on a CPU.

    Raises:
        UserError: there is no such device or precision, or `weights=int8` does not support it.
    """
    if precision not in ("auto", "fp32", "bf16"):
        raise UserError(f"precision={precision} is not one of auto, fp32, bf16")
    device = usable_device(device)
    int8_weights(weights, device, precision)
    if precision == "auto":
        on_gpu = device.startswith("cuda") and best_precision("cuda") == "bf16-mixed"
        precision = "bf16" if on_gpu else "fp32"
    warn_of_emulated_bf16(f"precision={precision}", device.partition(":")[0], "precision=fp32")
    try:
        model.to(device, torch.bfloat16 if precision == "bf16" else torch.float32)
    except (RuntimeError, AssertionError) as error:  # torch can raise both
        raise _unusable(device, str(error)) from error
    if weights == "int8":
        from webtext_gpt.model.int8 import round_weights  # needs numba, which an extra brings

        round_weights(model)


def usable_device(device: str) -> str:
    """Return the name of a device that exists; `auto` becomes a GPU if there is one, else `cpu`.

    Raises:
        UserError: there is no such device.
    """
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return "cuda" if n_gpus else "cpu"
    kind, _, index = device.partition(":")
    if kind == "cuda" and int(index or 0) >= n_gpus:
        found = f"cuda:0 to cuda:{n_gpus - 1}" if n_gpus else "no GPU that torch can use"
        raise _unusable(device, f"there is {found}; leave device= out, or give device=cpu")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch can raise both
        raise _unusable(device, str(error)) from error
    return device


def _unusable(device: str, reason: str) -> UserError:
    first_line = reason.strip().partition("\n")[0]
    return UserError(f"device={device} cannot be used here: {first_line}")


def peak_flops(device: torch.device, dtype: torch.dtype) -> float | None:
    """Return the peak speed of matrix multiplication, in FLOP/s; `None` if it is unknown.

    For GPUs it is taken from the data sheet; CPUs are measured.
    """
    if device.type == "cpu":
        return _measured_peak(dtype)
    if device.type == "cuda" and dtype == torch.bfloat16:
        gpu = known_gpu(torch.cuda.get_device_name(device))
        return None if gpu is None else gpu.peak
    return None


def _measured_peak(dtype: torch.dtype) -> float:
    """Return the best speed of ten products of n x n matrices, in FLOP/s, in about a second.

    n is 1024, or smaller where products are slow, as those of an emulated number format.
    """
    n = 256
    while n < 1024 and _fastest_product(n, dtype, times=3) < 0.02:  # the first one warms up
        n *= 2
    return 2 * n**3 / _fastest_product(n, dtype, times=10)


def _fastest_product(n: int, dtype: torch.dtype, times: int) -> float:
    """Return the seconds of the fastest of `times` products of n x n matrices."""
    a, b = torch.randn(n, n, dtype=dtype), torch.randn(n, n, dtype=dtype)
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        torch.mm(a, b)
        seconds.append(time.perf_counter() - start)
    return min(seconds)
