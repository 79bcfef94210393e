"""A model that reads texts as they grow: a whole text once, then a token at a time."""

from collections.abc import Sequence

import torch
from torch import Tensor

from webtext_gpt.model import GPT, KeyValueCache


class Reader:
    """Next-token logits of a batch of growing texts, by a key-value cache.

    Where a text outgrows the model's context, its last `block_size` tokens are seen: every
    position then changes with each token, and all of them are computed anew.

    Args:
        model: in evaluation mode.
        room: length in tokens that the longest text will reach.
        use_cache: keep keys and values; the logits are the same without.
    """

    def __init__(self, model: GPT, room: int, use_cache: bool = True) -> None:
        self.model = model
        self.block_size = model.config.block_size
        self.room = min(room, self.block_size)
        self.use_cache = use_cache
        self._cache: KeyValueCache | None = None

    def next_logits(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """`(B, vocab_size)`: of the first call's texts, then of the same, a token longer each."""
        device = self.model.wte.weight.device
        cache = self._cache
        if cache is None or cache.seen == cache.length or not self.use_cache:
            windows = [list(text[-self.block_size :]) for text in texts]
            longest = max(map(len, windows))
            padding = [longest - len(window) for window in windows]
            rows = [[0] * pad + window for pad, window in zip(padding, windows, strict=True)]
            cache = self._cache = KeyValueCache(self.room, torch.tensor(padding, device=device))
        else:
            rows = [[text[-1]] for text in texts]
        hidden = self.model.hidden_states(torch.tensor(rows, device=device), cache)
        return self.model.lm_head(hidden[:, -1])

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these of the texts, in this order; one may be named twice."""
        if self._cache is not None:
            self._cache.keep(rows)
