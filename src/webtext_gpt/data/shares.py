"""Source of each training sample of a mixture: counted, not drawn.

Weights become whole parts of a period, such as 2 + 1 + 1 = 4, and the samples repeat one pattern of
that length. Sample k is found by a look-up, so a run can resume at any sample.

The pattern is Tijdeman's (1980, "The chairman assignment problem"): with s sources, a source with m
of P parts has given n m / P of the first n samples, up to an error of 1 - 1 / (2 s - 2), for every
n. A source may give its next sample as soon as it is at least 1 / (2 s - 2) behind; among those,
the next is the one that would be the first to fall too far behind.
"""

import heapq
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

LONGEST_PERIOD = 2**18
"""Maximum length of the pattern; shares that need a longer one are rounded to 1 / 2^18."""


def whole_parts(weights: Sequence[Fraction], longest: int = LONGEST_PERIOD) -> list[int]:
    """Return whole numbers in the ratio of the weights, as small as possible.

    If their sum would exceed `longest`, they are rounded to that sum, by largest remainders; none
    is rounded to 0.

    Args:
        weights: positive numbers, no more than `longest` of them.
        longest: maximum sum.
    """
    total = sum(weights, Fraction())
    shares = [weight / total for weight in weights]
    period = math.lcm(*(share.denominator for share in shares))
    if period <= longest:
        return [int(share * period) for share in shares]
    exact = [share * longest for share in shares]
    parts = [max(1, math.floor(quota)) for quota in exact]
    numbers = range(len(parts))
    while (missing := longest - sum(parts)) > 0:
        parts[max(numbers, key=lambda i: exact[i] - parts[i])] += 1
    for _ in range(-missing):  # more than the sources that were rounded up to 1 had left over
        parts[min((i for i in numbers if parts[i] > 1), key=lambda i: exact[i] - parts[i])] -= 1
    divisor = math.gcd(*parts)
    return [part // divisor for part in parts]


class CountedPattern:
    """The sources of samples 0, 1, 2, ..., by number.

    Args:
        parts: parts of each source in the period, from `whole_parts`.

    Attributes:
        shares: each source's fraction of the samples.
    """

    def __init__(self, parts: Sequence[int]) -> None:
        self.parts = list(parts)
        self.period = sum(parts)
        self.shares = [part / self.period for part in parts]
        self._sources = _schedule(parts)
        by_source = np.argsort(self._sources, kind="stable")
        firsts = np.repeat(np.cumsum([0, *parts[:-1]]), parts)
        self._ordinals = np.empty(self.period, np.int64)
        self._ordinals[by_source] = np.arange(self.period) - firsts

    def locate(self, sample: int) -> tuple[int, int]:
        """Return a sample's source, and its number among the samples of that source, from 0."""
        periods, place = divmod(sample, self.period)
        source = int(self._sources[place])
        return source, periods * self.parts[source] + int(self._ordinals[place])

    def counts(self, n: int) -> list[int]:
        """Return how many of the first `n` samples each source gives."""
        periods, rest = divmod(n, self.period)
        counts = np.bincount(self._sources[:rest], minlength=len(self.parts)).tolist()
        return [periods * part + count for part, count in zip(self.parts, counts, strict=True)]


def _schedule(parts: Sequence[int]) -> npt.NDArray[np.int64]:
    """Return the source of each place of a period, `(period,)`."""
    period = sum(parts)
    slack = max(1, 2 * len(parts) - 2)
    schedule = np.empty(period, np.int64)
    given = [0] * len(parts)
    waiting = [(0, source) for source in range(len(parts))]  # (earliest place, source)
    ready: list[tuple[int, int]] = []  # (deadline, source)
    for place in range(period):
        while waiting and waiting[0][0] <= place:
            _, source = heapq.heappop(waiting)
            # floor of (given + 1 - 1 / slack) period / part: the last place that is not too late
            due = (slack * (given[source] + 1) - 1) * period // (slack * parts[source])
            heapq.heappush(ready, (due, source))
        _, source = heapq.heappop(ready)
        schedule[place] = source
        given[source] += 1
        if given[source] < parts[source]:
            # With n samples, n part / period - given is at least 1 / slack for the first time.
            n = -((slack * given[source] + 1) * period // -(slack * parts[source]))
            heapq.heappush(waiting, (n - 1, source))
    return schedule
