"""Size of a Bloom filter for a given number of items and false-positive rate.

The number of items in a block is Poisson-distributed. Averaging the rate of a block over that
distribution gives the rate of a filter, which determines the number of blocks. The layout of a
block is described in `bloom`.
"""

import math

import numpy as np

from webtext_gpt.errors import UserError

RATE = 1e-8
"""The paper's upper bound on the false-positive rate (section 4)."""

MARGIN = 1.01
"""Factor on an estimated number of distinct 8-grams, whose standard error is 0.2 % (`distinct`)."""

HALVES, WORDS, BITS = 2, 8, 64
"""Halves of a filter, words of a block, bits of a word."""


def rate_of_load(load: float) -> float:
    """Return the false-positive rate if a block of either half holds `load` items on average."""
    items = np.arange(int(load + 12 * math.sqrt(load) + 20))
    logs = np.array([math.lgamma(i + 1) for i in items])
    poisson = np.exp(items * math.log(load) - load - logs)
    # An item sets one bit of each word and one more in each group of four words. The share f of
    # set bits of a word enters once for six words, and squared for one of each four: E[f^2] is
    # larger than E[f]^2.
    clear = ((1 - 1 / BITS) * (1 - 1 / (4 * BITS))) ** items
    both_clear = ((1 - 2 / BITS) * (1 - 2 / (4 * BITS))) ** items
    squared = (1 - clear) / BITS + (1 - 1 / BITS) * (1 - 2 * clear + both_clear)
    return float((poisson * (1 - clear) ** 6 * squared**2).sum()) ** HALVES


def blocks_for(items: int, rate: float = RATE) -> int:
    """Return the blocks per half that keep `items` distinct hashes below a false-positive rate.

    Raises:
        UserError: The rate is outside (0, 0.5], or below the collision rate of 64-bit hashes.
    """
    # Without collisions of the hashes themselves; equal to the rate if these are too few to tell.
    of_bits = rate - items / 2**64
    if items < 1 or not 0 < of_bits <= rate <= 0.5:
        raise UserError(
            f"rate={rate}: with {items:,} items it must be above {items / 2**64:.3g} (hash "
            "collisions) and at most 0.5"
        )
    low, high = 1e-3, 1e4
    while high / low > 1 + 1e-9:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if rate_of_load(middle) > of_bits else (middle, high)
    return max(math.ceil(items / low), 1)
