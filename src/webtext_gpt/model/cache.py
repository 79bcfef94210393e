"""Keys and values that attention has computed, kept so that a new token costs one position.

In a decoder the keys and values of a position depend on it and on those before it, never on what
follows, so generation computes each of them once.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


class KeyValueCache:
    """Keys and values of the positions seen so far, for every block.

    Rows may be shorter than the longest: they begin with padding, which is never attended to and
    takes no position.

    Args:
        length: tokens there is room for, padding included; at most the model's context.
        padding: `(B,)` numbers of padding tokens at the beginning of each row.
    """

    def __init__(self, length: int, padding: Tensor) -> None:
        self.length = length
        self.keys: list[Tensor] = []  # of each block, (B, n_head, length, head_dim)
        self.values: list[Tensor] = []
        self.padding = padding
        self.is_padded = bool(padding.any())
        self.seen = 0
        """Tokens of a row that the cache holds, padding included."""

    def positions(self, T: int) -> Tensor:
        """Positions of the next T tokens: `(T,)`, or `(B, T)` where rows are padded."""
        index = torch.arange(self.seen, self.seen + T, device=self.padding.device)
        if not self.is_padded:
            return index
        return (index - self.padding[:, None]).clamp(min=0)

    def mask(self, T: int) -> Tensor | None:
        """Which keys the next T tokens attend to, `(1 or B, 1, T, seen + T)`.

        `None` where that is every key, or where plain causal masking says it.
        """
        if not self.is_padded and (T == 1 or self.seen == 0):
            return None
        device = self.padding.device
        query = torch.arange(self.seen, self.seen + T, device=device)[:, None]
        key = torch.arange(self.seen + T, device=device)
        visible = (key <= query)[None]
        if self.is_padded:  # padding attends to itself: a row of no keys would be no number
            visible = visible & (key >= self.padding[:, None, None]) | (key == query)
        return visible[:, None]

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add `(B, n_head, T, head_dim)` of a block; return all of its keys and values."""
        if layer == len(self.keys):
            B, n_head, _, head_dim = k.shape
            self.keys.append(k.new_zeros(B, n_head, self.length, head_dim))
            self.values.append(v.new_zeros(B, n_head, self.length, head_dim))
        end = self.seen + k.size(2)
        self.keys[layer][:, :, self.seen : end] = k
        self.values[layer][:, :, self.seen : end] = v
        return self.keys[layer][:, :, :end], self.values[layer][:, :, :end]

    def advance(self, T: int) -> None:
        """Count T tokens as seen, once every block has added them."""
        self.seen += T

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only, in this order; a row may be named twice."""
        index = torch.tensor(rows, device=self.padding.device)
        self.keys = [k[index] for k in self.keys]
        self.values = [v[index] for v in self.values]
        self.padding = self.padding[index]
