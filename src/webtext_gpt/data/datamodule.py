"""What the data of every training shares: samples by number, divided over devices."""

from collections.abc import Callable, Iterable
from typing import Any

import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from webtext_gpt.data.sampler import GlobalBatchSampler


class CountedData(L.LightningDataModule):
    """Training samples in counted order, without end; a subclass gives `val_dataloader`.

    Args:
        blocks: training samples by number.
        global_batch_size: samples of one optimizer step over all devices.
        micro_batch_size: samples of one forward pass on one device.
        num_workers: processes that read ahead on each device.
        collate: samples into a batch; `None` stacks their tensors.
    """

    def __init__(
        self,
        blocks: Dataset,
        *,
        global_batch_size: int,
        micro_batch_size: int,
        num_workers: int = 0,
        collate: Callable[[list], Any] | None = None,
    ) -> None:
        super().__init__()
        self.blocks = blocks
        self.global_batch_size = global_batch_size
        self.micro_batch_size = micro_batch_size
        self.num_workers = num_workers
        self.collate = collate

    def train_dataloader(self) -> DataLoader:
        """Micro-batches from the trainer's step on."""
        assert self.trainer is not None  # noqa: S101 - Lightning sets it before it asks
        batches = GlobalBatchSampler(
            self.global_batch_size,
            self.micro_batch_size,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
            first_step=self.trainer.global_step,
        )
        return self.loader(self.blocks, batches)

    def samples(self, step: int, world_size: int) -> np.ndarray:
        """Numbers of the samples of a step: `(micro-batches, processes, micro_batch_size)`.

        Args:
            step: optimizer steps taken before it.
            world_size: processes that share it.
        """
        first = step * self.global_batch_size
        samples = np.arange(first, first + self.global_batch_size)
        return samples.reshape(-1, world_size, self.micro_batch_size)

    def loader(self, dataset: Dataset, batches: Iterable[list[int]]) -> DataLoader:
        """Batches of the samples whose numbers are given."""
        return DataLoader(
            dataset,
            batch_sampler=batches,
            collate_fn=self.collate,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0,
        )
