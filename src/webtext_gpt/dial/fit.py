"""Fit of L(N, D) = E + A / N^a + B / D^b to a ladder of runs (Hoffmann et al. 2022, approach 3)."""

import itertools
from collections.abc import Sequence

import numpy as np

from webtext_gpt.dial.laws import LossLaw

HUBER_DELTA = 1e-3
"""Residual in log loss from which the Huber loss is linear (Hoffmann et al. 2022, appendix D.2)."""
LEAST, MOST = 0.28, 1.0
"""Bounds of a and b. A short ladder cannot tell a small exponent from a small E, and without a
bound its fit would call for thousands of tokens a weight; 0.28 is the least exponent of published
fits of this form (Hoffmann et al. 2022: 0.34 and 0.28; Besiroglu et al. 2024: 0.35 and 0.37)."""
EXPONENTS = (0.28, 0.35, 0.4, 0.5, 0.7, 0.9)
"""Grid of a and of b; the other constants are linear, and solved for each pair."""
N_STARTS = 5
"""Number of the best pairs of the grid that the fit starts from; the best result is kept."""


def fit(sizes: Sequence[float], tokens: Sequence[float], losses: Sequence[float]) -> LossLaw:
    """Return the law that fits the losses of several runs, by L-BFGS from the best of a grid.

    It minimizes the sum of the Huber losses of log L's residuals over log E, log A, log B, a and b.

    Args:
        sizes: weights of the blocks of each run, N.
        tokens: its training tokens, D.
        losses: its validation loss in nats a token.
    """
    from scipy.optimize import minimize, nnls
    from scipy.special import huber, logsumexp, softmax

    # Relative to the geometric mean, so that all five constants are of the order of 1.
    n, d = np.log(sizes) - np.log(sizes).mean(), np.log(tokens) - np.log(tokens).mean()
    log_loss = np.log(losses)

    def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
        e, a_factor, b_factor, a, b = x
        terms = np.stack([np.full_like(n, e), a_factor - a * n, b_factor - b * d])
        residuals = logsumexp(terms, axis=0) - log_loss
        slopes = np.clip(residuals, -HUBER_DELTA, HUBER_DELTA) * softmax(terms, axis=0)
        gradient = np.array([*slopes.sum(axis=1), -slopes[1] @ n, -slopes[2] @ d])
        scale = HUBER_DELTA**-2  # L-BFGS ends at a small absolute gradient
        return scale * huber(HUBER_DELTA, residuals).sum(), scale * gradient

    starts = []
    for a, b in itertools.product(EXPONENTS, EXPONENTS):
        columns = np.stack([np.ones_like(n), np.exp(-a * n), np.exp(-b * d)], axis=1)
        factors, error = nnls(columns / np.asarray(losses)[:, None], np.ones_like(n))
        starts.append((error, [*np.log(np.maximum(factors, 1e-3)), a, b]))
    starts.sort(key=lambda start: float(start[0]))
    bounds = [(np.log(1e-3), None)] * 3 + [(LEAST, MOST)] * 2
    ends = [
        minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds)
        for _, start in starts[:N_STARTS]
    ]
    e, a_factor, b_factor, a, b = min(ends, key=lambda end: float(end.fun)).x
    return LossLaw(
        irreducible=float(np.exp(e)),
        size_factor=float(np.exp(a_factor + a * np.log(sizes).mean())),
        size_exponent=float(a),
        tokens_factor=float(np.exp(b_factor + b * np.log(tokens).mean())),
        tokens_exponent=float(b),
    )
