"""Rows of several documents: attention stays inside a document, and positions restart with it.

Without this, a token attends to whatever documents happen to precede its own in the row, as in the
papers (Radford et al. 2018, 2019; Brown et al. 2020, section 2.3).
"""

import torch
from torch import Tensor


class Documents:
    """Where the documents of each row begin.

    End-of-text begins a document, as in the shards and in generation: it has position 0, and the
    first token of the text is predicted from it. A row may begin in the middle of a document,
    whose positions then count from the row's start.

    Args:
        tokens: `(B, T)` token ids.
        end_of_text: id of the end-of-text token.
    """

    def __init__(self, tokens: Tensor, end_of_text: int) -> None:
        index = torch.arange(tokens.size(1), device=tokens.device)
        begins = torch.where(tokens == end_of_text, index, 0)
        self.first = begins.cummax(dim=1).values
        """`(B, T)`: index in the row of the first token of each token's document."""

    def positions(self, T: int) -> Tensor:
        """Return the position of each token in its document, `(B, T)`."""
        return torch.arange(T, device=self.first.device) - self.first

    def mask(self, T: int) -> Tensor:
        """Return which keys each token attends to, as bools `(B, 1, T, T)`."""
        index = torch.arange(T, device=self.first.device)
        visible = (index >= self.first[..., None]) & (index <= index[:, None])
        return visible[:, None]
