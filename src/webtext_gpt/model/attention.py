"""Causal multi-head self-attention."""

import torch.nn.functional as F
from torch import Tensor, nn

from webtext_gpt.model.cache import KeyValueCache
from webtext_gpt.model.config import GPTConfig


class CausalSelfAttention(nn.Module):
    """Each position attends to itself and to those before it (Vaswani et al. 2017, 3.2)."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.n_head = config.n_head
        self.attn_dropout = config.attn_dropout
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)  # query, key, value at once
        self.c_proj = nn.Linear(config.n_embd, config.n_embd)

    def forward(
        self, x: Tensor, cache: KeyValueCache | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Map `(B, T, n_embd)` to `(B, T, n_embd)`.

        With a cache, x continues the positions that are in it; `mask` is the cache's.
        """
        B, T, C = x.shape
        # (B, T, 3 C) -> three of (B, n_head, T, head_dim)
        q, k, v = self.c_attn(x).view(B, T, 3, self.n_head, C // self.n_head).permute(2, 0, 3, 1, 4)
        if cache is not None:
            k, v = cache.extend(self.layer, k, v)  # (B, n_head, seen + T, head_dim)
        dropout = self.attn_dropout if self.training else 0.0
        is_causal = mask is None and k.size(2) == T
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=is_causal
        )
        return self.c_proj(y.transpose(1, 2).reshape(B, T, C))
