"""Attention weights of a kept forward pass: softmax(Q K^T / sqrt(d)) (Vaswani et al. 2017, 3.2.1).

Queries and keys are those that the model multiplies, after their normalization and rotation where
it has them.
"""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from webtext_gpt.explorer.trace import Trace

Array = NDArray[np.float32]


def triangle(trace: Trace, layer: int, head: int | None) -> Array:
    """Return a head's weights, `(T (T + 1) / 2,)`: the rows of the lower triangle in turn.

    Args:
        trace: of a text of T tokens.
        layer: index of the block.
        head: index of the head; None means the mean over the block's heads.
    """
    q, k, _ = trace.heads(layer)
    heads = range(len(q)) if head is None else [head]
    total = q.new_zeros(q.size(1), q.size(1), dtype=torch.float32)
    for index in heads:  # one (T, T) at a time
        total += causal_weights(q[index], k[index])
    visible = np.tri(len(total), dtype=bool)
    packed: Array = (total / len(heads)).cpu().numpy()[visible]
    return packed


def causal_weights(q: Tensor, k: Tensor) -> Tensor:
    """Return the weights `(T, T)` of one head, from its queries and keys `(T, head_dim)`."""
    scores = (q @ k.T).float() / math.sqrt(q.size(-1))
    hidden = torch.ones_like(scores, dtype=torch.bool).triu(1)
    return scores.masked_fill_(hidden, -math.inf).softmax(dim=-1)


def rows(trace: Trace, position: int) -> Array:
    """Return the weights of one position in every head, `(n_layer, n_head, position + 1)`."""
    every = []
    for layer in range(len(trace.blocks)):
        q, k, _ = trace.heads(layer)
        scores = k[:, : position + 1] @ q[:, position, :, None]  # (n_head, position + 1, 1)
        every.append((scores[:, :, 0].float() / math.sqrt(q.size(-1))).softmax(dim=-1))
    stacked: Array = torch.stack(every).cpu().numpy()
    return stacked


def numbers(trace: Trace, layer: int, head: int, position: int, n: int) -> dict[str, Any]:
    """Return how one head makes its output at one position, number by number.

    Returns:
        `query` `(head_dim,)`; `scale`, 1 / sqrt(head_dim); `scores`, the products of the query with
        the keys of the positions up to this one, times the scale; `weights`, their softmax;
        `output`, the weighted sum of the values; and `top`: the n positions with the highest
        weights, each with its `key` and `value`.
    """
    q, k, v = (part[head].float() for part in trace.heads(layer))
    scale = 1 / math.sqrt(q.size(-1))
    query, keys, values = q[position], k[: position + 1], v[: position + 1]
    scores = (keys @ query) * scale
    weights = scores.softmax(dim=-1)
    top = weights.topk(min(n, len(weights))).indices.tolist()
    return {
        "query": query.tolist(),
        "scale": scale,
        "scores": scores.tolist(),
        "weights": weights.tolist(),
        "output": (weights @ values).tolist(),
        "top": [
            {
                "position": at,
                "score": scores[at].item(),
                "weight": weights[at].item(),
                "key": keys[at].tolist(),
                "value": values[at].tolist(),
            }
            for at in top
        ],
    }
