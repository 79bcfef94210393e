"""Number of distinct 8-grams, estimated by HyperLogLog (Flajolet et al. 2007).

The standard error is 1.04 / sqrt(2^18) = 0.2 %.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numba import njit

from data_prep.ngrams.arrays import Bytes, Hashes
from data_prep.ngrams.bits import U
from data_prep.ngrams.bloom_size import MARGIN
from data_prep.ngrams.hashing import ngrams
from data_prep.stage import workers
from data_prep.stage.readers import Layout, batches

_REGISTER_BITS = 18


@dataclass(frozen=True)
class Count:
    """Number of 8-grams in some files.

    Attributes:
        registers: Registers of HyperLogLog, (2^18,). A union has the maximum of each.
        ngrams: 8-grams, repeats included.
        documents: Texts read.
        rejected: Rows without text, by reason.
    """

    registers: Bytes
    ngrams: int
    documents: int
    rejected: Counter[str] = field(default_factory=Counter)

    @classmethod
    def empty(cls) -> "Count":
        """Return the count of no files."""
        return cls(no_registers(), 0, 0, Counter())

    def __or__(self, other: "Count") -> "Count":
        return Count(
            np.maximum(self.registers, other.registers), self.ngrams + other.ngrams,
            self.documents + other.documents, self.rejected + other.rejected,
        )  # fmt: skip

    def capacity(self) -> int:
        """Return the number of distinct 8-grams that a filter should have room for.

        This is the estimate with a margin, but at most the number of all 8-grams. The estimator is
        Ertl's (2017, algorithm 6), which has no bias at small numbers.
        """
        m, most = 1 << _REGISTER_BITS, 64 - _REGISTER_BITS
        histogram = np.bincount(self.registers, minlength=most + 2).astype(float)
        z = m * _tau(1 - histogram[most + 1] / m)
        for rank in range(most, 0, -1):
            z = 0.5 * (z + histogram[rank])
        z += m * _sigma(histogram[0] / m)
        estimate = m * m / (2 * np.log(2) * z) if np.isfinite(z) else 0.0
        return min(int(estimate * MARGIN) + 1, self.ngrams)


def _sigma(x: float) -> float:
    """Ertl's sigma: x + the sum of x^(2^k) * 2^(k-1) over k >= 1."""
    if x == 1:
        return float("inf")
    y, z = 1.0, x
    while True:
        x, before = x * x, z
        z, y = z + x * y, 2 * y
        if z == before:
            return z


def _tau(x: float) -> float:
    """Ertl's tau: (1 - x - the sum of (1 - x^(2^-k))^2 * 2^-k over k >= 1) / 3."""
    if x in (0, 1):
        return 0.0
    y, z = 1.0, 1 - x
    while True:
        x, before = x**0.5, z
        y /= 2
        z -= (1 - x) ** 2 * y
        if z == before:
            return z / 3


def no_registers() -> Bytes:
    """Return the registers of an empty set, (2^18,)."""
    return np.zeros(1 << _REGISTER_BITS, np.uint8)


def count_file(path: Path, layout: Layout) -> Count:
    """Count the 8-grams of one file.

    Raises:
        UserError: The file cannot be read.
    """
    registers, total, documents = no_registers(), 0, 0
    rejected = Counter[str]()
    for batch in batches(path, layout, workers.advance):
        hashes = ngrams(batch.texts).hashes
        register(registers, hashes)
        total, documents = total + len(hashes), documents + len(batch.texts)
        rejected += batch.rejected
    return Count(registers, total, documents, rejected)


@njit(nogil=True, cache=True)
def register(registers: Bytes, hashes: Hashes) -> None:
    """Raise each hash's register to the position of the first 1 after its leading bits."""
    for at in range(len(hashes)):
        rest = (hashes[at] << U(_REGISTER_BITS)) | U(1 << (_REGISTER_BITS - 1))
        rank = 1
        while not rest >> U(63):
            rest <<= U(1)
            rank += 1
        register = hashes[at] >> U(64 - _REGISTER_BITS)
        registers[register] = max(registers[register], rank)
