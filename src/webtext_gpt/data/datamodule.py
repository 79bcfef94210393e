"""Base LightningDataModule: numbered training samples, divided among the processes."""

from collections.abc import Callable, Iterable
from typing import Any

import lightning as L
import numpy as np
import numpy.typing as npt
from torch.utils.data import DataLoader, Dataset

from webtext_gpt.data.sampler import GlobalBatchSampler


class TrainingDataModule(L.LightningDataModule):
    """Serve an endless sequence of training samples.

    A subclass adds `val_dataloader`; `validated_tokens`, the numbers of tokens that a validation
    during the run and the last one score; and `documents(sample)`, the numbers or names of the
    documents that a training sample was read from, for messages.

    Args:
        blocks: training samples by number.
        global_batch_size: samples per optimizer step, over all processes.
        micro_batch_size: samples per forward pass of one process.
        num_workers: data-loading worker processes per training process.
        collate: makes a batch from a list of samples; None stacks their tensors.
    """

    UNIT = "documents"
    """Unit that `documents` counts: `documents`, or `rows` of a file."""

    def __init__(
        self,
        blocks: Dataset[Any],
        *,
        global_batch_size: int,
        micro_batch_size: int,
        num_workers: int = 0,
        collate: Callable[[list[Any]], Any] | None = None,
    ) -> None:
        super().__init__()
        self.blocks = blocks
        self.global_batch_size = global_batch_size
        self.micro_batch_size = micro_batch_size
        self.num_workers = num_workers
        self.collate = collate

    def train_dataloader(self) -> DataLoader[Any]:
        """Return this process's micro-batches, starting at the trainer's step."""
        assert self.trainer is not None  # noqa: S101 - Lightning sets it before this call
        batches = GlobalBatchSampler(
            self.global_batch_size,
            self.micro_batch_size,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
            first_step=self.trainer.global_step,
        )
        return self.loader(self.blocks, batches)

    def samples(self, step: int, world_size: int) -> npt.NDArray[np.int64]:
        """Return the sample numbers of one step, `(micro-batches, world_size, micro_batch_size)`.

        Args:
            step: optimizer steps taken before this one.
            world_size: number of processes.
        """
        first = step * self.global_batch_size
        samples = np.arange(first, first + self.global_batch_size)
        return samples.reshape(-1, world_size, self.micro_batch_size)

    def loader(
        self, dataset: Dataset[Any], batches: Iterable[list[int]], *, keep_workers: bool = True
    ) -> DataLoader[Any]:
        """Return a loader of the given batches of sample numbers.

        For a GPU, batches are in pinned memory, from which Lightning copies them without waiting.

        Args:
            dataset: samples by number.
            batches: the numbers of each batch.
            keep_workers: whether its worker processes stay for the next pass over it.
        """
        assert self.trainer is not None  # noqa: S101 - Lightning sets it before this call
        return DataLoader(
            dataset,
            batch_sampler=batches,
            collate_fn=self.collate,
            num_workers=self.num_workers,
            pin_memory=self.trainer.strategy.root_device.type == "cuda",
            persistent_workers=keep_workers and self.num_workers > 0,
        )
