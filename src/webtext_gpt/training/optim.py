"""AdamW with weight decay on matrices only, as is usual for language models; and Muon."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, GPTClassifier, language_model
from webtext_gpt.model.transformer import Transformer
from webtext_gpt.training.muon import Muon


def adamw(
    model: GPT | GPTClassifier | Transformer,
    *,
    lr: float | None = None,
    reference_lr: float = 6e-4,
    betas: tuple[float, float] = (0.9, 0.95),
    eps: float = 1e-8,
    weight_decay: float = 0.1,
) -> torch.optim.AdamW:
    """Return AdamW over a model's trained parameters (Loshchilov and Hutter 2019).

    Weight matrices and embeddings decay; biases and the gains of layer normalization do not.

    Args:
        model: the model to train.
        lr: peak learning rate; `None` means `default_lr` of the model's width.
        reference_lr: peak for width 768, used if `lr` is `None`.
        betas: decay rates of the two moments.
        eps: added to the square root of the second moment.
        weight_decay: weight decay, decoupled from the gradient.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    if lr is None:
        lr = default_lr(_width(model), reference_lr)
    return _adamw(parameters, lr, betas, eps, weight_decay)


def muon(
    model: GPT | GPTClassifier | Transformer,
    *,
    lr: float = 0.02,
    momentum: float = 0.95,
    ns_steps: int = 5,
    weight_decay: float = 0.01,
    adamw_lr: float = 4e-3,
    adamw_betas: tuple[float, float] = (0.9, 0.95),
    adamw_eps: float = 1e-8,
    adamw_weight_decay: float = 0.01,
) -> Muon:
    """Return Muon for the blocks' weight matrices, and AdamW for all other trained parameters.

    AdamW has the embeddings, the head, gains and biases. Query, key and value weights, which are
    stacked in one matrix, are orthogonalized as three.

    Args:
        model: the model to train.
        lr: Muon's peak learning rate.
        momentum: decay rate of Muon's momentum.
        ns_steps: Newton-Schulz iterations.
        weight_decay: weight decay of Muon's matrices, decoupled from the gradient.
        adamw_lr: AdamW's peak learning rate.
        adamw_betas: decay rates of AdamW's two moments.
        adamw_eps: added to the square root of the second moment.
        adamw_weight_decay: weight decay of the embeddings and the head.

    Raises:
        UserError: no matrix of a block is trained.
    """
    matrices = hidden_matrices(model)
    if not matrices:
        raise UserError(
            "optimizer=muon trains the weight matrices of the blocks, and none of them is trained "
            "in this run; use optimizer=adamw"
        )
    others = [p for p in model.parameters() if p.requires_grad and p not in matrices]
    adamw = _adamw(others, adamw_lr, adamw_betas, adamw_eps, adamw_weight_decay) if others else None
    return Muon(
        matrices, adamw, lr=lr, momentum=momentum, ns_steps=ns_steps, weight_decay=weight_decay
    )


STACKED = {"attn.c_attn.weight": 3, "cross.c_memory.weight": 2}
"""Weights of queries, keys and values that are one matrix in the model."""


def hidden_matrices(model: GPT | GPTClassifier | Transformer) -> dict[nn.Parameter, int]:
    """Return the trained matrices of the blocks, each with how many are stacked in its rows."""
    if isinstance(model, Transformer):
        blocks = [model.encoder, model.decoder]
    else:
        blocks = [language_model(model).blocks]
    return {
        parameter: next((n for end, n in STACKED.items() if name.endswith(end)), 1)
        for one in blocks
        for name, parameter in one.named_parameters()
        if parameter.requires_grad and parameter.dim() == 2
    }


def moments(model: GPT | GPTClassifier | Transformer, *, by_muon: bool) -> int:
    """Return how many values an optimizer keeps: one per parameter of Muon's, two of AdamW's."""
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return 2 * trained - (sum(p.numel() for p in hidden_matrices(model)) if by_muon else 0)


def _adamw(
    parameters: Sequence[nn.Parameter],
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
) -> torch.optim.AdamW:
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]  # freezing can leave one empty
    beta1, beta2 = betas
    return torch.optim.AdamW(groups, lr=lr, betas=(beta1, beta2), eps=eps, fused=True)


def _width(model: GPT | GPTClassifier | Transformer) -> int:
    return (model if isinstance(model, Transformer) else language_model(model)).config.n_embd


def default_lr(n_embd: int, reference_lr: float = 6e-4) -> float:
    """Return a peak learning rate for a width: reference_lr (768 / n_embd)^1.5.

    In pretraining the rule passes through GPT-3's 6e-4 for width 768 (Brown et al. 2020, table
    2.1), near its 3e-4 for width 1,024, and near the best rate measured for width 128
    (docs/reference/measurements.md).
    """
    return reference_lr * (768 / n_embd) ** 1.5
