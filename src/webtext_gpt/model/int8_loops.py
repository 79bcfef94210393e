"""Products of a few vectors with an int8 matrix, as numba loops.

The product of one vector with a matrix takes the time of reading the matrix, so int8 weights take a
third of the time of fp32.
"""

import numpy as np
import numpy.typing as npt
from numba import njit, prange

Floats = npt.NDArray[np.float32]
Weights = npt.NDArray[np.int8]

BLOCK = 16  # rows of the matrix that a thread takes at once


@njit(fastmath={"reassoc", "contract"}, cache=True)  # a free order of sums, to add in vectors
def _dot(row: Floats | Weights, x: Floats) -> np.float32:
    total = np.float32(0)
    for k in range(len(row)):
        total += np.float32(row[k]) * x[k]
    return total


@njit(parallel=True, cache=True)
def multiply(x: Floats, weight: Weights, scale: Floats, out: Floats) -> None:
    """Set out = x W^T, where row n of W is scale[n] weight[n].

    Args:
        x: `(M, K)` vectors.
        weight: `(N, K)`.
        scale: `(N,)`.
        out: `(M, N)`.
    """
    M, N = out.shape
    n_blocks = (N + BLOCK - 1) // BLOCK
    for block in prange(n_blocks):
        row = np.empty(x.shape[1], np.float32)
        for n in range(BLOCK * block, min(BLOCK * block + BLOCK, N)):
            if M == 1:
                out[0, n] = _dot(weight[n], x[0]) * scale[n]
            else:
                row[:] = weight[n]  # the vectors share the conversion
                for m in range(M):
                    out[m, n] = _dot(row, x[m]) * scale[n]
