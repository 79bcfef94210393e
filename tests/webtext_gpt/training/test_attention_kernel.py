"""The warning of a slow attention kernel, decided from what torch says that it can use."""

import pytest
import torch

from webtext_gpt.model import GPTConfig
from webtext_gpt.training.attention_kernel import slow_attention, usable_kernels

SMALL = GPTConfig()
WIDE = GPTConfig(n_head=2)  # heads of 384
BF16, FP32 = torch.bfloat16, torch.float32


def _usable(*kernels: str) -> dict[str, bool]:
    return {name: name in kernels for name in ("flash", "cuDNN", "memory-efficient")}


@pytest.mark.parametrize("kernel", ["flash", "cuDNN"])
def test_a_fast_kernel_is_not_mentioned(kernel: str) -> None:
    usable = _usable(kernel, "memory-efficient")
    assert slow_attention(usable, SMALL, BF16, masked=False) is None


def test_no_flash_kernel_takes_a_mask() -> None:
    assert slow_attention(_usable("memory-efficient"), SMALL, BF16, masked=True) is None
    warning = slow_attention(_usable(), SMALL, BF16, masked=True)
    assert warning is not None
    assert "torch's math kernel" in warning


@pytest.mark.parametrize(
    ("config", "dtype", "kernel", "reason"),
    [
        (SMALL, FP32, "memory-efficient", "computes in float32; set trainer.precision=bf16-mixed"),
        (WIDE, BF16, "math", "at most 256 values, and model.n_embd=768 / model.n_head=2 is 384"),
        (SMALL, BF16, "math", "this GPU or this build of torch lacks it"),
    ],
)
def test_a_slow_kernel_is_named_with_the_reason(
    config: GPTConfig, dtype: torch.dtype, kernel: str, reason: str
) -> None:
    warning = slow_attention(_usable(kernel), config, dtype, masked=False)
    assert warning is not None
    assert f"uses torch's {kernel} kernel, not flash attention: " in warning
    assert reason in warning


@pytest.mark.parametrize("masked", [False, True])
def test_torch_is_asked_about_the_models_shape(masked: bool) -> None:
    """A CPU has none of them; the call breaks if torch renames what it uses."""
    usable = usable_kernels(SMALL, torch.device("cpu"), BF16, masked=masked)
    assert usable == _usable()
