"""Warn before training if a GPU cannot use torch's fastest attention kernel.

`scaled_dot_product_attention` falls back to slower kernels silently. The slowest, "math", stores
the T x T attention weights of every head.
"""

from collections.abc import Mapping

import torch
from torch.backends import cuda

from webtext_gpt.model import GPTConfig

FASTEST = "flash"
LARGEST_HEAD = 256
"""Largest head dimension that flash attention supports (Dao 2023, FlashAttention-2)."""


def usable_kernels(
    config: GPTConfig, device: torch.device, dtype: torch.dtype, *, masked: bool
) -> dict[str, bool]:
    """Return whether each kernel can compute a training step's attention, the fastest first.

    Args:
        config: the model's shape and dropout.
        device: the GPU.
        dtype: of queries, keys and values.
        masked: whether rows of documents have a mask.
    """
    T = config.block_size
    q = torch.empty(1, config.n_head, T, config.head_dim, device=device, dtype=dtype)
    mask = torch.ones(1, 1, T, T, device=device, dtype=torch.bool) if masked else None
    params = cuda.SDPAParams(q, q, q, mask, config.attn_dropout, not masked, False)
    return {
        FASTEST: cuda.can_use_flash_attention(params),
        "cuDNN": cuda.can_use_cudnn_attention(params),
        "memory-efficient": cuda.can_use_efficient_attention(params),
    }


def slow_attention(
    usable: Mapping[str, bool], config: GPTConfig, dtype: torch.dtype, *, masked: bool
) -> str | None:
    """Return a warning if attention will not use the fastest kernel that its arguments allow.

    Args:
        usable: result of `usable_kernels`.
        config: the model's shape.
        dtype: of queries, keys and values.
        masked: whether rows of documents have a mask, which no flash kernel takes.
    """
    kernel = next((name for name, can in usable.items() if can), "math")
    if kernel in (FASTEST, "cuDNN") or (masked and kernel != "math"):
        return None
    if dtype not in (torch.bfloat16, torch.float16):
        reason = f"that needs bf16, and this run computes in {dtype}; set trainer.precision"
        reason = reason.replace("torch.", "") + "=bf16-mixed"
    elif config.head_dim > LARGEST_HEAD:
        reason = (
            f"that takes heads of at most {LARGEST_HEAD} values, and model.n_embd={config.n_embd} "
            f"/ model.n_head={config.n_head} is {config.head_dim}"
        )
    else:
        reason = "this GPU or this build of torch lacks it, or does not take the model's dropout"
    return f"warning: attention uses torch's {kernel} kernel, not flash attention: {reason}"
