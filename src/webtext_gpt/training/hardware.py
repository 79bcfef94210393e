"""What the machine can do: precision, and peak speed of matrix multiplication."""

import re
import time

import torch

# Dense bf16 peaks in FLOP/s, as the vendors state them, longest name first.
_GPU_PEAKS = {
    "H100 PCIe": 756e12,
    "H200": 989e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10G": 70e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}


def best_precision(device_type: str) -> str:
    """`bf16-mixed` where the hardware multiplies bf16 matrices itself, else `32-true`."""
    if device_type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device_type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        native = bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
    else:
        native = False
    return "bf16-mixed" if native else "32-true"


def peak_flops(device: torch.device, dtype: torch.dtype) -> float | None:
    """Peak matrix multiplication in FLOP/s: of the data sheet for GPUs, measured for CPUs.

    `None` where it is not known.
    """
    if device.type == "cpu":
        return _measured_peak(dtype)
    if device.type == "cuda" and dtype == torch.bfloat16:
        name = torch.cuda.get_device_name(device)
        return next(
            (peak for part, peak in _GPU_PEAKS.items() if re.search(rf"\b{part}\b", name)), None
        )
    return None


def _measured_peak(dtype: torch.dtype, n: int = 1024) -> float:
    """The best of ten products of n x n matrices, in FLOP/s."""
    a, b = torch.randn(n, n, dtype=dtype), torch.randn(n, n, dtype=dtype)
    best = float("inf")
    for _ in range(10):
        start = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - start)
    return 2 * n**3 / best
