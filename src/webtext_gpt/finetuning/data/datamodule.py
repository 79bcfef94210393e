"""Examples for fine-tuning in counted order, and the whole validation set, padded in batches."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from webtext_gpt.data.datamodule import TrainingDataModule
from webtext_gpt.finetuning.data.length_groups import LengthGroups
from webtext_gpt.finetuning.data.sequences import Sequences


class Batch(NamedTuple):
    """Texts of one forward pass."""

    tokens: Tensor
    """`(B, T)` ids, padded on the right to the longest; `(B, 2, T)` of pairs both ways round."""
    lengths: Tensor
    """`(B,)` tokens of each without its padding."""
    starts: Tensor
    """`(B,)` position of the first token of each that is to be learned."""
    targets: Tensor
    """`(B,)` classes, or numbers."""
    samples: Tensor
    """`(B,)` numbers: of training, those drawn so far; of validation, rows."""


class EncodedExamples(NamedTuple):
    """Token sequences with what is to be learned of them."""

    sequences: Sequences
    targets: np.ndarray
    """`(n,)` int64 classes, or float32 numbers."""
    places: list[str]
    """Where each comes from, for messages."""

    def item(self, row: int, sample: int) -> tuple[np.ndarray, int, float, int]:
        """What `collate` takes of an example: tokens, start, target, and its number as a sample."""
        sequences, targets, _ = self
        return sequences.tokens[row], sequences.starts[row], targets[row], sample


class _Numbered(Dataset):
    """Example by sample number."""

    def __init__(self, examples: EncodedExamples, order: LengthGroups | None = None) -> None:
        self.examples = examples
        self.order = order

    def __getitem__(self, sample: int) -> tuple[np.ndarray, int, float, int]:
        row = self.order.example(sample) if self.order else sample
        return self.examples.item(row, sample)


def collate(items: Sequence[tuple[np.ndarray, int, float, int]], pad: int) -> Batch:
    """Pad sequences on the right to the longest of them."""
    tokens, starts, targets, samples = zip(*items, strict=True)
    padded, lengths = pad_right(tokens, pad)
    return Batch(
        padded,
        lengths,
        torch.from_numpy(np.array(starts)),
        torch.from_numpy(np.array(targets)),
        torch.tensor(samples),
    )


def pad_right(tokens: Sequence[np.ndarray], pad: int) -> tuple[Tensor, Tensor]:
    """Sequences `(..., T_i)` as one tensor `(B, ..., T)`, and their lengths `(B,)`."""
    lengths = [sequence.shape[-1] for sequence in tokens]
    padded = np.full((len(tokens), *tokens[0].shape[:-1], max(lengths)), pad, dtype=np.int64)
    for row, sequence in enumerate(tokens):
        padded[row, ..., : lengths[row]] = sequence
    return torch.from_numpy(padded), torch.tensor(lengths)


class FinetuningData(TrainingDataModule):
    """Training examples without end and the whole validation set, for any number of devices.

    Args:
        training: at least one example.
        validation: at least one example.
        global_batch_size: examples of one optimizer step over all devices.
        micro_batch_size: examples of one forward pass on one device.
        pad: token id that fills sequences up.
        seed: of the order.
        num_workers: processes that read ahead on each device.
    """

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
            _Numbered(training, self.order),
            global_batch_size=global_batch_size,
            micro_batch_size=micro_batch_size,
            num_workers=num_workers,
            collate=functools.partial(collate, pad=pad),
        )
        self.training = training
        self.validation = validation
        self.block_size = round(float(training.sequences.lengths.mean()))  # for who times a pass

    def val_dataloader(self) -> DataLoader:
        """This process's share of the validation rows, the same number of batches on each.

        Rows are taken by length; some come twice where they do not divide.
        """
        assert self.trainer is not None  # noqa: S101 - Lightning sets it before it asks
        rank, world_size = self.trainer.global_rank, self.trainer.world_size
        rows = np.argsort(self.validation.sequences.lengths, kind="stable")
        size = min(self.micro_batch_size, -(-len(rows) // world_size))
        rows = np.resize(rows, -(-len(rows) // (size * world_size)) * size * world_size)
        batches = rows.reshape(-1, size)[rank::world_size].tolist()
        return self.loader(_Numbered(self.validation), batches)

    def documents(self, sample: int) -> list[str]:
        """The place that a training sample comes from."""
        return [self.training.places[self.order.example(sample)]]
