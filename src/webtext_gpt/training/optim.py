"""AdamW as language models use it: weight decay on matrices alone."""

import math
from typing import Any

import torch
from torch import nn


def adamw(
    model: nn.Module,
    *,
    lr: float | None = None,
    betas: tuple[float, float] = (0.9, 0.95),
    eps: float = 1e-8,
    weight_decay: float = 0.1,
) -> torch.optim.AdamW:
    """AdamW over a model's parameters (Loshchilov and Hutter 2019).

    Weight matrices and embeddings decay; biases and the gains of layer normalisation do not.

    Args:
        model: whose parameters are trained.
        lr: peak learning rate; `None` takes `default_lr` of the model's size.
        betas: decay rates of the two moments.
        eps: added to the root of the second moment.
        weight_decay: decoupled from the gradient.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    if lr is None:
        lr = default_lr(sum(p.numel() for p in parameters if p.dim() >= 2))
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    beta1, beta2 = betas
    return torch.optim.AdamW(groups, lr=lr, betas=(beta1, beta2), eps=eps, fused=True)


def default_lr(n_weights: int) -> float:
    """0.003239 - 0.0001395 ln N, the learning rate that suited N weights.

    Kaplan et al. 2020, "Scaling Laws for Neural Language Models", appendix D.1.
    """
    return 0.003239 - 0.0001395 * math.log(n_weights)
