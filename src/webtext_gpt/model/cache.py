"""Key-value cache: each new token costs one position, not a pass over the text so far.

In a decoder, the keys and values of a position depend only on that position and earlier ones, so
generation computes them once and keeps them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


class KeyValueCache:
    """Keys and values of every block for the positions seen so far.

    Rows shorter than the longest are padded on the left. Padding is never attended to and takes
    no position.

    Args:
        length: capacity in tokens per row, padding included; at most the model's context.
        padding: `(B,)` number of padding tokens at the start of each row.
    """

    def __init__(self, length: int, padding: Tensor) -> None:
        self.length = length
        self.keys: list[Tensor] = []  # one per block, (B, n_head, length, head_dim)
        self.values: list[Tensor] = []
        self.padding = padding
        self.is_padded = bool(padding.any())
        self.seen = 0
        """Tokens per row that the cache holds, padding included."""

    def positions(self, T: int) -> Tensor:
        """Return the positions of the next T tokens: `(T,)`, or `(B, T)` if rows are padded."""
        index = torch.arange(self.seen, self.seen + T, device=self.padding.device)
        if not self.is_padded:
            return index
        return (index - self.padding[:, None]).clamp(min=0)

    def mask(self, T: int) -> Tensor | None:
        """Return which keys the next T tokens attend to, as bools `(1 or B, 1, T, seen + T)`.

        None means every key, or plain causal masking for the first tokens.
        """
        if not self.is_padded and (T == 1 or self.seen == 0):
            return None
        device = self.padding.device
        query = torch.arange(self.seen, self.seen + T, device=device)[:, None]
        key = torch.arange(self.seen + T, device=device)
        visible = (key <= query)[None]
        if self.is_padded:  # padding attends to itself, since softmax over no keys gives NaN
            visible = visible & (key >= self.padding[:, None, None]) | (key == query)
        return visible[:, None]

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new keys and values of a block and return all of them.

        Args:
            layer: index of the block.
            k: `(B, n_head, T, head_dim)` keys of the next T tokens.
            v: `(B, n_head, T, head_dim)` values of the next T tokens.

        Returns:
            Keys and values, both `(B, n_head, seen + T, head_dim)`.
        """
        if layer == len(self.keys):
            B, n_head, _, head_dim = k.shape
            self.keys.append(k.new_zeros(B, n_head, self.length, head_dim))
            self.values.append(v.new_zeros(B, n_head, self.length, head_dim))
        keys, values, T = self.keys[layer], self.values[layer], k.size(2)
        keys.narrow(2, self.seen, T).copy_(k)  # in Python, narrow is faster than an index
        values.narrow(2, self.seen, T).copy_(v)
        return keys.narrow(2, 0, self.seen + T), values.narrow(2, 0, self.seen + T)

    def advance(self, T: int) -> None:
        """Mark T tokens as seen; call this once every block has stored them."""
        self.seen += T

    def forget(self, T: int) -> None:
        """Drop the last T tokens, so that others can take their places."""
        self.seen -= T

    def keep(self, rows: Sequence[int]) -> None:
        """Select rows by index, in the given order; a row may occur more than once."""
        index = torch.tensor(rows, device=self.padding.device)
        self.keys = [self._selected(k, index) for k in self.keys]
        self.values = [self._selected(v, index) for v in self.values]
        self.padding = self.padding[index]

    def _selected(self, stored: Tensor, index: Tensor) -> Tensor:
        """Return rows of keys or values; only the tokens seen are copied, for speed."""
        selected = stored.new_empty(len(index), *stored.shape[1:])
        seen = selected.narrow(2, 0, self.seen)
        torch.index_select(stored.narrow(2, 0, self.seen), 0, index, out=seen)
        return selected
