"""What is done about a loss or gradient that is not finite, and about one that is unusual."""

import statistics
from collections import deque

from webtext_gpt.errors import UserError

USUAL = 100
"""Steps whose median gradient norm counts as usual."""
FEWEST = 20
"""Steps before anything is called unusual."""
CHOICES = ("stop", "skip")


def check_choice(not_finite: str) -> None:
    """Refuse what is none of `CHOICES`.

    Raises:
        UserError: it is not.
    """
    if not_finite not in CHOICES:
        raise UserError(f"guard.not_finite={not_finite} is neither {' nor '.join(CHOICES)}")


class GradientNorms:
    """Tells a spike from the usual: so many times the median of the last `USUAL` norms.

    Args:
        factor: of the median, from which a norm is a spike.

    Attributes:
        spikes: found so far.
    """

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.spikes = 0
        self._last: deque[float] = deque(maxlen=USUAL)

    def is_spike(self, norm: float) -> bool:
        """Whether a finite norm is one; it counts as usual from now on."""
        spike = len(self._last) >= FEWEST and norm > self.factor * self.usual
        self._last.append(norm)
        self.spikes += spike
        return spike

    @property
    def usual(self) -> float:
        """The median of the last norms."""
        return statistics.median(self._last)

    def state_dict(self) -> dict[str, float | list[float]]:
        """The last norms, for a run that goes on."""
        return {"spikes": self.spikes, "last": list(self._last)}

    def load_state_dict(self, state: dict) -> None:
        """Take up what `state_dict` gave."""
        self.spikes = state["spikes"]
        self._last.extend(state["last"])
