"""A vocabulary padded to a multiple of 128, inside the training loss on GPUs.

With GPT-2's 50,257 tokens, most rows of logits begin at addresses that slow tensor cores down. The
weights of the output layer are padded when they are multiplied, in the copy that mixed precision
makes of them anyway. Parameters, checkpoints and optimizer states keep the true vocabulary.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

MULTIPLE = 128
"""Padded vocabularies are multiples of this."""


def padded_head(weight: Tensor, device_type: str) -> tuple[Tensor, Tensor]:
    """Return the weights and biases of a padded output layer.

    A padded logit is minus infinity, so it has no probability and no gradient.

    Args:
        weight: `(vocab_size, n_embd)` of the output layer.
        device_type: whose autocast, if it is on, gives the precision of the products.

    Returns:
        `(padded_size, n_embd)` weights, zero for tokens that do not exist, and `(padded_size,)`
        biases, 0 or minus infinity.
    """
    if torch.is_autocast_enabled(device_type):
        weight = weight.to(torch.get_autocast_dtype(device_type))  # before it is copied once more
    missing = -len(weight) % MULTIPLE
    bias = F.pad(weight.new_zeros(len(weight)), (0, missing), value=-math.inf)
    return F.pad(weight, (0, 0, 0, missing)), bias
