"""Attention weights of a kept forward pass: softmax(Q K^T / sqrt(d)) (Vaswani et al. 2017, 3.2.1).

Queries and keys are those that the model multiplies, after their normalization and rotation, if the
model has these.
"""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from webtext_gpt.explorer.trace import Trace

Array = NDArray[np.float32]


def triangle(trace: Trace, layer: int, head: int | None) -> Array:
    """Return a head's weights, `(T (T + 1) / 2,)`: the rows of the lower triangle in turn.

    Args:
        trace: of a text of T tokens.
        layer: index of the block.
        head: index of the head; None means the mean over the block's heads.
    """
    q, k, _ = (part.float() for part in trace.heads(layer))
    n, scale = q.size(1), 1 / math.sqrt(q.size(-1))
    mask = q.new_full((n, n), -math.inf).triu(1)  # 0 where a key is visible
    heads = range(len(q)) if head is None else [head]
    total = torch.zeros_like(mask)
    for index in heads:  # one (T, T) at a time
        scores = torch.addmm(mask, q[index], k[index].T, alpha=scale)
        total += torch.softmax(scores, dim=-1, out=scores)
    packed: Array = (total / len(heads)).cpu().numpy()[np.tri(n, dtype=bool)]
    return packed


def rows(trace: Trace, position: int) -> Array:
    """Return the weights of one position in every head, `(n_layer, n_head, position + 1)`."""
    every = []
    for layer in range(len(trace.blocks)):
        q, k, _ = (part.float() for part in trace.heads(layer))
        scores = k[:, : position + 1] @ q[:, position, :, None]  # (n_head, position + 1, 1)
        every.append((scores[:, :, 0] / math.sqrt(q.size(-1))).softmax(dim=-1))
    stacked: Array = torch.stack(every).cpu().numpy()
    return stacked


def numbers(trace: Trace, layer: int, head: int, position: int, n: int) -> dict[str, Any]:
    """Return the numbers by which one head computes its output at one position.

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
