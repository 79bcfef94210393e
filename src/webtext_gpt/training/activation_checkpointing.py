"""Activation checkpointing: blocks recompute their activations in the backward pass.

A block keeps only its input for the backward pass, at the cost of a second forward pass (Chen et
al. 2016). This is applied from outside, so that the model's code is independent of it.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from webtext_gpt.model import GPT
from webtext_gpt.model.gpt import Block


class RecomputedBlock(Block):
    """Block that keeps only its input for the backward pass; dropout repeats the same mask."""

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """See `Block.forward`."""
        if self.training and torch.is_grad_enabled():
            output: Tensor = checkpoint(super().forward, *args, use_reentrant=False, **kwargs)
            return output
        return super().forward(*args, **kwargs)


def recompute_activations(model: GPT) -> None:
    """Turn every block of a model into a `RecomputedBlock`; weight names do not change."""
    for block in model.blocks:
        block.__class__ = RecomputedBlock
