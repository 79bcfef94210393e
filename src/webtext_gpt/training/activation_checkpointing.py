"""Activation checkpointing: a block's activations are computed again when they are needed.

Applied from outside, so that the model's file knows nothing of it. What is kept for the backward
pass is the input of each block; the price is a second forward pass (Chen et al. 2016).
"""

from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from webtext_gpt.model import GPT
from webtext_gpt.model.gpt import Block


class RecomputedBlock(Block):
    """A block that keeps its input alone for the backward pass. Dropout draws the same again."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As `Block.forward`."""
        if self.training and torch.is_grad_enabled():
            return checkpoint(super().forward, *args, use_reentrant=False, **kwargs)
        return super().forward(*args, **kwargs)


def recompute_activations(model: GPT) -> None:
    """Make every block of a model a `RecomputedBlock`; names of weights stay as they are."""
    for block in model.blocks:
        block.__class__ = RecomputedBlock
