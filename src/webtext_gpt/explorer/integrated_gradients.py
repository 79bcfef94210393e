"""Integrated gradients of a classifier's logit (Sundararajan et al. 2017, equation 1).

The embeddings x move on a straight line from a baseline x' to their values, and a token's
attribution is the sum over its values i of
(x_i - x'_i) * integral from 0 to 1 of dF(x' + a (x - x')) / dx_i da, where F is the label's logit.
The attributions sum to F(x) - F(x').

The baseline gives each token of the text the zero vector, as the paper does for text (section 2).
Positions and the start, delimiter and extract tokens stay, since they are the same for each text
and so decide nothing. A padding token would be a worse baseline: its embedding is either untrained
or that of the start token. Value embeddings belong to the token and move with it.

The integral is a Clenshaw-Curtis sum over t with a = t^3. Its points are dense near the baseline,
where the norms of nearly zero embeddings change fastest; they include both ends; and all of them
are reused when their number doubles.
"""

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, GPTClassifier

TOLERANCE = 0.01
"""Maximum error of the attributions' sum, as a fraction of the difference of logits."""
FIRST, LAST = 8, 1024
"""Numbers of intervals of the first and the last sum."""
BATCH_TOKENS = 2048
"""Maximum tokens of a forward and backward pass, unless a single sequence is longer."""

Array = np.ndarray[Any, np.dtype[np.float64]]


def integrated_gradients(
    model: GPTClassifier, sequence: Tensor, is_text: Tensor, label: int
) -> tuple[Array, float, int]:
    """Return attributions, the difference of logits that they sum to, and the number of gradients.

    The relative error of the sum is at most `TOLERANCE`. If the difference is nearly zero, under
    `TOLERANCE` times the largest attribution, the error is relative to that attribution.

    Args:
        model: in evaluation mode; not changed.
        sequence: `(orders, T)` token ids: one row, or a pair in both orders.
        is_text: `(orders, T)` whether a token moves; the others keep their embeddings.
        label: number of the logit.

    Returns:
        `(orders, T)` attributions in units of the logit, the difference, and the number.

    Raises:
        UserError: `LAST` intervals do not suffice.
    """

    def along(points: Array) -> tuple[Array, Array]:
        return _slopes(model, sequence, is_text, label, points)

    return integral(along)


def integral(along: Callable[[Array], tuple[Array, Array]]) -> tuple[Array, float, int]:
    """Double the number of intervals until the integrals add up to the function's difference.

    Args:
        along: maps points `(n,)` of the line to function values `(n,)` and slopes `(n, ...)`,
            the terms of the function's derivative along the line.

    Returns:
        The terms' integrals, the difference of the function's values, and the number of points.

    Raises:
        UserError: `LAST` intervals do not suffice.
    """
    n = FIRST
    t, weights = clenshaw_curtis(n)
    function, slopes = along(t**3)
    difference = float(function[-1] - function[0])
    while True:
        parts = np.tensordot(weights * 3 * t**2, slopes, 1)
        largest = float(np.abs(parts).max(initial=0))
        scale = abs(difference) if abs(difference) > TOLERANCE * largest else largest
        error = abs(float(parts.sum()) - difference)
        if error <= TOLERANCE * scale:
            return parts, difference, n + 1
        if n >= LAST:
            raise UserError(
                f"the attributions of this text miss the difference of logits, {difference:.4g}, "
                f"by {error:.2g} after {n + 1} steps: the model's gradients vary too much on the "
                "way from the baseline to the text; try a shorter text or another label"
            )
        n *= 2
        t, weights = clenshaw_curtis(n)
        finer = np.empty((n + 1, *slopes.shape[1:]))
        finer[::2] = slopes
        finer[1::2] = along(t[1::2] ** 3)[1]
        slopes = finer


def clenshaw_curtis(n: int) -> tuple[Array, Array]:
    """Return n + 1 points in [0, 1] and their weights, for an even n (Waldvogel 2006, section 2).

    The points for n are every second point for 2 n. Polynomials up to degree n are exact.
    """
    angles = np.arange(n + 1) * (math.pi / n)
    j = np.arange(1, n // 2 + 1)
    factors = np.where(j == n // 2, 1, 2) / (4 * j**2 - 1)
    weights = (1 - np.cos(2 * np.outer(angles, j)) @ factors) / n
    weights[[0, -1]] /= 2
    return (1 - np.cos(angles)) / 2, weights


def _slopes(
    model: GPTClassifier, sequence: Tensor, is_text: Tensor, label: int, points: Array
) -> tuple[Array, Array]:
    """Return logits `(n,)` at points of the line, and their slopes `(n, orders, T)`, in batches."""
    body = model.body
    tables = {"wte": body.wte, **dict(body.value_embeddings.items())}
    with torch.no_grad():
        ends = {name: table(sequence) for name, table in tables.items()}  # (orders, T, C)
    moving = is_text[..., None]  # (orders, T, 1)
    logits, slopes = [], []
    size = max(1, BATCH_TOKENS // sequence.numel())
    for start in range(0, len(points), size):
        a = torch.from_numpy(points[start : start + size]).to(model.head.weight)
        a = a[:, None, None, None]
        given = {
            name: torch.where(moving, a * end, end).requires_grad_() for name, end in ends.items()
        }  # (n, orders, T, C)
        tokens = sequence.expand(len(a), *sequence.shape)
        flat = {name: vectors.flatten(0, 1) for name, vectors in given.items()}
        hidden = _with_embeddings(body, flat).hidden_states(tokens.flatten(0, 1))
        hidden = hidden.view(*tokens.shape, -1)
        lengths = torch.full((len(a),), sequence.size(1), device=sequence.device)
        logit = model.classify(model.extract_states(hidden, tokens, lengths))[:, label]
        gradients = torch.autograd.grad(logit.sum(), list(given.values()))
        slope = torch.zeros(tokens.shape, dtype=torch.float64, device=sequence.device)
        for end, gradient in zip(ends.values(), gradients, strict=True):
            slope += torch.where(moving, end * gradient, 0).sum(dim=-1)
        logits.append(logit.detach().double().cpu().numpy())
        slopes.append(slope.cpu().numpy())
    return np.concatenate(logits), np.concatenate(slopes)


class _Given(nn.Module):
    """An embedding that returns given vectors, whatever the token ids."""

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        self.vectors = vectors

    def forward(self, tokens: Tensor) -> Tensor:
        return self.vectors


def _with_embeddings(body: GPT, given: Mapping[str, Tensor]) -> GPT:
    """Return a copy of a body with other embeddings; it shares the other weights, unchanged."""
    changed = copy.copy(body)
    layers = {name: _Given(vectors) for name, vectors in given.items()}
    changed._modules = {
        **body._modules,
        "wte": layers.pop("wte"),
        "value_embeddings": nn.ModuleDict(layers),
    }
    return changed
