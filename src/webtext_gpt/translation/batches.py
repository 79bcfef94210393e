"""Global batches of sentence pairs, measured in tokens and found by the batch's number.

Pairs of similar length share a batch, so that little is padded (Vaswani et al. 2017, section 5.1).
An epoch's pairs are shuffled, sorted by the longer of their sides, and cut where one more pair
would exceed the batch's tokens; its batches are then shuffled. The sorted lengths, and therefore
the cuts, are the same in every epoch. So every epoch has the same number of batches, and a batch's
number and the seed determine its pairs.
"""

import numpy as np
import numpy.typing as npt

from webtext_gpt.errors import UserError


class TokenBatches:
    """Pairs of each global batch, given its number.

    Args:
        sources: `(n,)` tokens of each source.
        targets: `(n,)` tokens of each target, as the loss counts them.
        tokens: maximum tokens of a batch's sources, and of its targets, padding included.
        seed: seed of the order.

    Raises:
        UserError: a single pair has more tokens.
    """

    def __init__(
        self,
        sources: npt.NDArray[np.int64],
        targets: npt.NDArray[np.int64],
        tokens: int,
        seed: int,
    ) -> None:
        self.longer = np.maximum(sources, targets)
        self.targets = targets
        self.seed = seed
        if tokens < self.longer.max():
            raise UserError(
                f"global_batch_tokens={tokens} does not hold the longest pair, of "
                f"{self.longer.max()} tokens; give at least that"
            )
        self.cuts = _cuts(np.sort(self.longer), tokens)
        self._epochs: dict[int, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = {}

    @property
    def per_epoch(self) -> int:
        """Batches of an epoch."""
        return len(self.cuts) - 1

    @property
    def mean_targets(self) -> float:
        """Mean number of target tokens of a batch."""
        return float(self.targets.sum()) / self.per_epoch

    @property
    def typical(self) -> int:
        """Number of a batch whose length is the median."""
        return int(np.flatnonzero(self._epoch(0)[1] == self.per_epoch // 2)[0])

    def rows(self, batch: int) -> npt.NDArray[np.int64]:
        """Return the numbers of the pairs in a batch, counted from 0 at the start of training."""
        epoch, position = divmod(batch, self.per_epoch)
        pairs, batches = self._epoch(epoch)
        chosen = batches[position]
        return pairs[self.cuts[chosen] : self.cuts[chosen + 1]]

    def part(self, batch: int, part: int, parts: int) -> tuple[npt.NDArray[np.int64], float]:
        """Return the pairs of one of the equal parts of a batch, and the weight of its loss.

        Args:
            batch: number of the batch.
            part: number of the part.
            parts: forward passes of the batch over all devices.

        Returns:
            The numbers of the pairs, which can be none if the batch has fewer pairs than parts; and
            `parts` divided by the number of targets in the whole batch.
        """
        rows = self.rows(batch)
        return np.array_split(rows, parts)[part], parts / float(self.targets[rows].sum())

    def _epoch(self, epoch: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the order of an epoch's pairs, and that of its batches; the last is kept."""
        if epoch not in self._epochs:
            draw = np.random.default_rng([self.seed, epoch])
            shuffled = draw.permutation(len(self.longer))
            pairs = shuffled[np.argsort(self.longer[shuffled], kind="stable")]
            self._epochs = {epoch: (pairs, draw.permutation(self.per_epoch))}
        return self._epochs[epoch]


def _cuts(lengths: npt.NDArray[np.int64], tokens: int) -> npt.NDArray[np.int64]:
    """Return where batches of sorted lengths begin, then the end: rows x longest <= tokens."""
    cuts, first = [0], 0
    for row, length in enumerate(lengths.tolist()):
        if (row + 1 - first) * length > tokens:
            cuts.append(row)
            first = row
    return np.array([*cuts, len(lengths)])
