"""Data module of fine-tuning: endless training examples, and the validation set."""

import functools

import numpy as np
from torch.utils.data import DataLoader, Dataset

from webtext_gpt.data.datamodule import TrainingDataModule
from webtext_gpt.finetuning.data.sequences import EncodedExamples, Item, collate

GROUP = 50
"""Number of batches whose examples are sorted by length together.

This keeps padding low and the order random.
"""


class LengthGroups:
    """Order of training examples: maps a sample number to an example, given the seed.

    Every example occurs once per epoch. Epochs follow one another without a gap, so one batch may
    span two. Within an epoch, examples are shuffled; those of `GROUP` batches at a time are sorted
    by length and cut into batches, and the batches are shuffled.

    Args:
        lengths: `(n,)` tokens of each example, n at least 1.
        batch_size: examples per optimizer step.
        seed: seed of the order.
    """

    def __init__(self, lengths: np.ndarray, batch_size: int, seed: int) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self._epochs: dict[int, np.ndarray] = {}  # cached orders of the latest epochs

    def example(self, sample: int) -> int:
        """Return the example's number for a sample number."""
        epoch, position = divmod(sample, len(self.lengths))
        if epoch not in self._epochs:
            self._epochs = {e: order for e, order in self._epochs.items() if e == epoch - 1}
            self._epochs[epoch] = self._ordered(epoch)
        return int(self._epochs[epoch][position])

    def _ordered(self, epoch: int) -> np.ndarray:
        n, size = len(self.lengths), self.batch_size
        draw = np.random.default_rng([self.seed, epoch])
        shuffled = draw.permutation(n)
        begun = min(n, -epoch * n % size)  # these complete the last batch of the previous epoch
        n_batches = (n - begun) // size
        if n_batches < 2:
            return shuffled
        end = begun + n_batches * size
        middle = shuffled[begun:end]
        batches: list[np.ndarray] = []
        for first in range(0, len(middle), GROUP * size):
            group = middle[first : first + GROUP * size]
            group = group[np.argsort(self.lengths[group], kind="stable")]
            batches += np.split(group, len(group) // size)
        order = draw.permutation(n_batches)
        middle = np.concatenate([batches[i] for i in order])
        return np.concatenate((shuffled[:begun], middle, shuffled[end:]))


class _Samples(Dataset):
    """Examples by sample number, or by row if no order is given."""

    def __init__(self, examples: EncodedExamples, order: LengthGroups | None = None) -> None:
        self.examples = examples
        self.order = order

    def __getitem__(self, sample: int) -> Item:
        row = self.order.example(sample) if self.order else sample
        return self.examples.item(row, sample)


class FinetuningData(TrainingDataModule):
    """Training examples in length groups and the full validation set, for any number of devices.

    Args:
        training: at least one example.
        validation: at least one example.
        global_batch_size: examples per optimizer step, over all devices.
        micro_batch_size: examples per forward pass of one device.
        pad: token id that pads sequences.
        seed: seed of the order.
        num_workers: data-loading worker processes per device.
    """

    UNIT = "rows"

    def __init__(
        self,
        training: EncodedExamples,
        validation: EncodedExamples,
        *,
        global_batch_size: int,
        micro_batch_size: int,
        pad: int,
        seed: int,
        num_workers: int = 0,
    ) -> None:
        self.order = LengthGroups(training.sequences.lengths, global_batch_size, seed)
        super().__init__(
            _Samples(training, self.order),
            global_batch_size=global_batch_size,
            micro_batch_size=micro_batch_size,
            num_workers=num_workers,
            collate=functools.partial(collate, pad=pad),
        )
        self.training = training
        self.validation = validation
        self.block_size = round(float(training.sequences.lengths.mean()))  # for throughput figures

    @property
    def validated_tokens(self) -> tuple[int, int]:
        """Tokens of a validation over all processes: of one during the run, of the last one."""
        tokens = int(self.validation.sequences.lengths.sum())
        return tokens, tokens

    def val_dataloader(self) -> DataLoader:
        """Return this rank's share of the validation rows; all ranks get equally many batches.

        Rows are sorted by length. If they do not divide evenly, some occur twice.
        """
        assert self.trainer is not None  # noqa: S101 - Lightning sets it before this call
        rank, world_size = self.trainer.global_rank, self.trainer.world_size
        rows = np.argsort(self.validation.sequences.lengths, kind="stable")
        size = min(self.micro_batch_size, -(-len(rows) // world_size))
        rows = np.resize(rows, -(-len(rows) // (size * world_size)) * size * world_size)
        batches = rows.reshape(-1, size)[rank::world_size].tolist()
        return self.loader(_Samples(self.validation), batches)

    def documents(self, sample: int) -> list[str]:
        """Return, as a list, the place that a training sample was read from, for messages."""
        return [self.training.places[self.order.example(sample)]]
