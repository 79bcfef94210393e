"""Causal multi-head self-attention."""

import torch.nn.functional as F
from torch import Tensor, nn

from webtext_gpt.model.config import GPTConfig


class CausalSelfAttention(nn.Module):
    """Each position attends to itself and to those before it (Vaswani et al. 2017, 3.2)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.attn_dropout = config.attn_dropout
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)  # query, key, value at once
        self.c_proj = nn.Linear(config.n_embd, config.n_embd)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, T, n_embd)` to `(B, T, n_embd)`."""
        B, T, C = x.shape
        # (B, T, 3 C) -> three of (B, n_head, T, head_dim)
        q, k, v = self.c_attn(x).view(B, T, 3, self.n_head, C // self.n_head).permute(2, 0, 3, 1, 4)
        dropout = self.attn_dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
        return self.c_proj(y.transpose(1, 2).reshape(B, T, C))
