"""The order of samples in fine-tuning: every example once an epoch, like lengths together."""

import numpy as np

GROUP = 50
"""Batches whose examples are sorted by length together: little padding, much randomness."""


class LengthGroups:
    """Which example each training sample is, a function of the seed and the sample's number.

    Epochs follow one another without a gap, so that a batch may end one and begin the next. In
    an epoch, examples are shuffled; those of `GROUP` batches at a time are sorted by length and
    cut into batches, and the batches are shuffled.

    Args:
        lengths: `(n,)` tokens of each example, n at least 1.
        batch_size: examples of one optimizer step.
        seed: of the order.
    """

    def __init__(self, lengths: np.ndarray, batch_size: int, seed: int) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self._epochs: dict[int, np.ndarray] = {}  # the orders last asked for

    def example(self, sample: int) -> int:
        """Number of the example that a sample is."""
        epoch, position = divmod(sample, len(self.lengths))
        if epoch not in self._epochs:
            self._epochs = {e: order for e, order in self._epochs.items() if e == epoch - 1}
            self._epochs[epoch] = self._ordered(epoch)
        return int(self._epochs[epoch][position])

    def _ordered(self, epoch: int) -> np.ndarray:
        n, size = len(self.lengths), self.batch_size
        draw = np.random.default_rng([self.seed, epoch])
        shuffled = draw.permutation(n)
        begun = min(n, -epoch * n % size)  # these fill the batch that the epoch before began
        whole = (n - begun) // size
        if whole < 2:
            return shuffled
        middle = shuffled[begun : begun + whole * size]
        batches: list[np.ndarray] = []
        for first in range(0, len(middle), GROUP * size):
            group = middle[first : first + GROUP * size]
            group = group[np.argsort(self.lengths[group], kind="stable")]
            batches += np.split(group, len(group) // size)
        order = draw.permutation(whole)
        middle = np.concatenate([batches[i] for i in order])
        return np.concatenate((shuffled[:begun], middle, shuffled[begun + whole * size :]))
