"""Weights rounded to int8 for inference on CPUs, where reading them bounds the speed.

Each row of a matrix is divided by its largest magnitude / 127 and rounded (symmetric, per output
channel; "absmax" in Dettmers et al. 2022, section 2). Activations, embeddings, biases and
normalization stay in fp32, and so do all sums.
"""

from typing import Any, Self

import numba
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from webtext_gpt.errors import UserError
from webtext_gpt.model.gpt import Head, soft_cap
from webtext_gpt.model.int8_loops import multiply

FEW = 16
"""Maximum number of vectors for int8 products; more are multiplied in fp32 by BLAS."""


class Int8Linear(nn.Module):
    """A linear layer with int8 weights, for inference only.

    Args:
        linear: the fp32 layer whose weights are rounded.

    Raises:
        UserError: it is trained, saved or exported.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        largest = weight.abs().amax(dim=1)
        scale = torch.where(largest > 0, largest / 127, 1.0)
        self.register_buffer("scale", scale)  # (out_features,)
        self.register_buffer("weight", (weight / scale[:, None]).round().to(torch.int8))
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        """Map `(..., in_features)` to `(..., out_features)`."""
        vectors = x.detach().reshape(-1, x.shape[-1])
        if len(vectors) > FEW:
            weight = self.weight * self.scale[:, None]
            return F.linear(x, weight, self.bias)
        out = torch.empty(len(vectors), len(self.scale))
        numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
        multiply(vectors.contiguous().numpy(), self.weight.numpy(), self.scale.numpy(), out.numpy())
        if self.bias is not None:
            out += self.bias
        return out.view(*x.shape[:-1], -1)

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode."""
        if mode:
            raise UserError("a model with weights=int8 cannot be trained; load it again")
        return super().train(mode)

    def _save_to_state_dict(self, *_: Any) -> None:
        raise UserError(
            "a model with weights=int8 cannot be saved or exported; load it with weights=float"
        )


class Int8Head(Int8Linear):
    """The output layer with int8 weights; an embedding tied to it stays in fp32."""

    def __init__(self, head: Head) -> None:
        super().__init__(head)
        self.cap = head.cap

    def forward(self, hidden: Tensor) -> Tensor:
        """Map `(..., n_embd)` to logits `(..., vocab_size)`."""
        return soft_cap(super().forward(hidden), self.cap)


def round_weights(model: nn.Module) -> None:
    """Replace the linear layers of a model by int8 ones, in place."""
    for name, layer in model.named_children():
        if isinstance(layer, nn.Linear):
            setattr(model, name, Int8Head(layer) if isinstance(layer, Head) else Int8Linear(layer))
        else:
            round_weights(layer)
