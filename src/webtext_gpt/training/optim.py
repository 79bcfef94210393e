"""AdamW with weight decay on matrices only, as is usual for language models."""

from typing import Any

import torch

from webtext_gpt.model import GPT, GPTClassifier, language_model


def adamw(
    model: GPT | GPTClassifier,
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
        lr = default_lr(language_model(model).config.n_embd, reference_lr)
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]  # freezing can leave one empty
    beta1, beta2 = betas
    return torch.optim.AdamW(groups, lr=lr, betas=(beta1, beta2), eps=eps, fused=True)


def default_lr(n_embd: int, reference_lr: float = 6e-4) -> float:
    """Return a peak learning rate for a width: reference_lr (768 / n_embd)^1.5.

    In pretraining the rule passes through GPT-3's 6e-4 for width 768 (Brown et al. 2020, table
    2.1), near its 3e-4 for width 1,024, and near the best rate measured for width 128
    (docs/measurements.md).
    """
    return reference_lr * (768 / n_embd) ** 1.5
