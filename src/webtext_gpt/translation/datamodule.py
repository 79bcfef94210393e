"""Data module of translation: endless parts of global batches, and the validation pairs."""

from collections.abc import Iterator

import lightning as L
import numpy as np
import numpy.typing as npt
from torch.utils.data import DataLoader, Dataset, Sampler

from webtext_gpt.training.batch import MICRO_BATCH_TOKENS
from webtext_gpt.translation.batches import TokenBatches
from webtext_gpt.translation.encoding import EncodedPairs, PairBatch, collate

NOBODY = -1
"""Fills an array of pair numbers where parts have different sizes."""


class _Parts(Dataset[PairBatch]):
    """Parts of the training batches, numbered from 0 at the start of training."""

    def __init__(self, pairs: EncodedPairs, batches: TokenBatches, parts: int) -> None:
        self.pairs = pairs
        self.batches = batches
        self.parts = parts

    def __getitem__(self, number: int) -> PairBatch:
        rows, weight = self.batches.part(*divmod(number, self.parts), self.parts)
        return collate(self.pairs, rows.tolist(), weight)


class _Rows(Dataset[PairBatch]):
    """Batches of the validation pairs."""

    def __init__(self, pairs: EncodedPairs, rows: list[list[int]]) -> None:
        self.pairs = pairs
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> PairBatch:
        return collate(self.pairs, self.rows[number], 1.0)


class _Endless(Sampler[int]):
    """Numbers of one process's parts: every `world_size`-th one."""

    def __init__(self, first: int, world_size: int) -> None:
        self.first = first
        self.world_size = world_size

    def __iter__(self) -> Iterator[int]:
        number = self.first
        while True:
            yield number
            number += self.world_size


class PairData(L.LightningDataModule):
    """Training pairs in batches of tokens and the complete validation set, for any devices.

    Args:
        training: the training pairs.
        validation: the validation pairs.
        batches: the global batches of the training pairs.
        accumulation: forward passes of one device for each step.
        num_workers: data-loading worker processes per device.
    """

    UNIT = "lines"
    """Unit that `documents` counts."""

    def __init__(
        self,
        training: EncodedPairs,
        validation: EncodedPairs,
        batches: TokenBatches,
        *,
        accumulation: int,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        self.training = training
        self.validation = validation
        self.batches = batches
        self.accumulation = accumulation
        self.num_workers = num_workers

    @property
    def validated_tokens(self) -> tuple[int, int]:
        """Tokens of a validation over all processes: of one during the run, of the last one."""
        tokens = int(self.validation.lengths[1].sum())
        return tokens, tokens

    def parts(self, world_size: int) -> "_Parts":
        """Return the parts of the training batches, one for each pass of each process."""
        parts = self.accumulation * world_size
        return _Parts(self.training, self.batches, parts)

    def train_dataloader(self) -> DataLoader[PairBatch]:
        """Return this process's parts, starting at the trainer's step."""
        assert self.trainer is not None  # noqa: S101 - Lightning sets it before this call
        parts = self.parts(self.trainer.world_size)
        first = self.trainer.global_step * parts.parts + self.trainer.global_rank
        return self._loader(parts, _Endless(first, self.trainer.world_size))

    def val_dataloader(self) -> DataLoader[PairBatch]:
        """Return this rank's share of the validation pairs; all ranks get equally many batches."""
        assert self.trainer is not None  # noqa: S101 - Lightning sets it before this call
        rank, world_size = self.trainer.global_rank, self.trainer.world_size
        sources, targets = self.validation.lengths
        tokens = max(MICRO_BATCH_TOKENS, int(max(sources.max(), targets.max())))
        ordered = TokenBatches(sources, targets, tokens, seed=0)
        rows = [ordered.rows(batch).tolist() for batch in range(ordered.per_epoch)]
        rows += [[]] * (-len(rows) % world_size)
        return self._loader(_Rows(self.validation, rows[rank::world_size]), None)

    def _loader(
        self, dataset: Dataset[PairBatch], sampler: Sampler[int] | None
    ) -> DataLoader[PairBatch]:
        assert self.trainer is not None  # noqa: S101 - Lightning sets it before this call
        return DataLoader(
            dataset,
            batch_size=None,
            sampler=sampler,
            num_workers=self.num_workers,
            pin_memory=self.trainer.strategy.root_device.type == "cuda",
            persistent_workers=self.num_workers > 0,
        )

    def samples(self, step: int, world_size: int) -> npt.NDArray[np.int64]:
        """Return the numbers of one step's pairs, `(passes, world_size, most pairs of a part)`.

        Args:
            step: optimizer steps taken before this one.
            world_size: number of processes.
        """
        parts = np.array_split(self.batches.rows(step), self.accumulation * world_size)
        table = np.full((len(parts), len(parts[0])), NOBODY)
        for row, part in zip(table, parts, strict=True):
            row[: len(part)] = part
        return table.reshape(self.accumulation, world_size, -1)

    def documents(self, sample: int) -> list[str]:
        """Return, as a list, the place that a training pair was read from, for messages."""
        if sample == NOBODY:
            return []
        return [f"{self.training.name}, line {self.training.lines[sample]}"]
