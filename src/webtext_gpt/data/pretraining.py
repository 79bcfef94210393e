"""Blocks of tokens for pretraining and windows of tokens for validation."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from webtext_gpt.data.datamodule import TrainingDataModule
from webtext_gpt.data.mixture import Mixture, naming_source, source_seed
from webtext_gpt.data.packing import PackedRows
from webtext_gpt.data.sampler import block_start
from webtext_gpt.data.shards import TokenShards, TokenStream
from webtext_gpt.errors import UserError
from webtext_gpt.model import IGNORED

Batch = tuple[Tensor, Tensor]
"""Inputs and targets, both `(B, T)`; target t is the token after input t."""


class TrainingBlocks(Dataset[Batch]):
    """Endless sequence of training samples, each a block of consecutive tokens.

    Args:
        stream: the training split.
        block_size: tokens per sample.
        seed: selects the order of the blocks.

    Attributes:
        epoch_tokens: tokens that an epoch reads.

    Raises:
        UserError: the split is shorter than `block_size + 1` tokens.
    """

    def __init__(self, stream: TokenStream, block_size: int, seed: int) -> None:
        if stream.n_tokens < block_size + 1:
            raise UserError(
                f"the training split has {stream.n_tokens} tokens, but one block of "
                f"model.block_size={block_size} needs {block_size + 1}; add text or set a "
                "smaller block_size"
            )
        self.stream = stream
        self.block_size = block_size
        self.seed = seed
        self.epoch_tokens = stream.n_tokens

    def documents(self, sample: int) -> list[int]:
        """Return the numbers of the documents that a sample reads, in the order of the shards."""
        n_tokens = self.stream.n_tokens
        start = block_start(sample, self.seed, n_tokens, self.block_size)
        end = start + self.block_size + 1
        found = [*self.stream.document_numbers(start, min(end, n_tokens))]
        if end > n_tokens:
            found += self.stream.document_numbers(0, end - n_tokens)
        return found

    def __getitem__(self, sample: int) -> Batch:
        """Return the inputs and targets of one sample, both `(T,)`."""
        start = block_start(sample, self.seed, self.stream.n_tokens, self.block_size)
        tokens = self.stream.read(start, self.block_size + 1)
        if len(tokens) <= self.block_size:  # the block wraps around the end of the corpus
            rest = self.stream.read(0, self.block_size + 1 - len(tokens))
            tokens = np.concatenate((tokens, rest))
        block = torch.from_numpy(tokens)  # (T + 1,)
        return block[:-1], block[1:]


PACKINGS: dict[str, type[TrainingBlocks] | type[PackedRows]] = {
    "stream": TrainingBlocks,
    "best_fit": PackedRows,
}
"""Ways of making training samples from documents, by the values of `packing=`."""


def epoch_tokens(stream: TokenStream, block_size: int, packing: str) -> int:
    """Return the tokens of a training split that an epoch reads.

    Args:
        stream: the split.
        block_size: tokens per sample.
        packing: a name in `PACKINGS`.

    Raises:
        UserError: it cannot be cut into blocks.
    """
    return PACKINGS[packing](stream, block_size, seed=0).epoch_tokens


class MixedBlocks(Dataset[Batch]):
    """Endless sequence of training samples, each a block of one source of a mixture.

    Args:
        mixture: the sources and their shares.
        block_size: tokens per sample.
        seed: selects the order of each source's blocks.
        packing: a name in `PACKINGS`.

    Raises:
        UserError: the training split of a source is missing, or cannot be cut into blocks.
    """

    def __init__(
        self, mixture: Mixture, block_size: int, seed: int, packing: str = "stream"
    ) -> None:
        self.names = mixture.names
        self.pattern = mixture.pattern
        self.sources: list[TrainingBlocks | PackedRows] = []
        for name, shards in mixture.sources.items():
            with naming_source(name):
                stream, own_seed = shards.split("train"), source_seed(seed, name)
                self.sources.append(PACKINGS[packing](stream, block_size, own_seed))

    def documents(self, sample: int) -> list[str]:
        """Return the source and the number of each document that a sample reads."""
        source, number = self.pattern.locate(sample)
        return [f"{self.names[source]} {d}" for d in self.sources[source].documents(number)]

    def __getitem__(self, sample: int) -> Batch:
        """Return the inputs and targets of one sample, both `(T,)`."""
        source, number = self.pattern.locate(sample)
        return self.sources[source][number]


class ValidationWindows(Dataset[Batch]):
    """A split cut into consecutive windows; each token except the first is a target exactly once.

    Args:
        stream: the validation split.
        block_size: tokens per window; the last window is padded with ignored targets.
        multiple: windows of ignored targets are added until this divides the number of windows.

    Raises:
        UserError: the split has fewer than two tokens.
    """

    def __init__(self, stream: TokenStream, block_size: int, multiple: int = 1) -> None:
        if stream.n_tokens < 2:
            raise UserError(
                "the validation split has fewer than two tokens; raise data.val_fraction"
            )
        self.stream = stream
        self.block_size = block_size
        self.n_filled = -(-(stream.n_tokens - 1) // block_size)  # windows with targets
        self.n_windows = -(-self.n_filled // multiple) * multiple

    def __len__(self) -> int:
        return self.n_windows

    def spread(self, tokens: int, multiple: int = 1) -> list[int]:
        """Return evenly spaced windows with at least `tokens` tokens, or all windows.

        Args:
            tokens: tokens to score.
            multiple: as in the class; the windows added have ignored targets, too.
        """
        n = min(-(-tokens // self.block_size), self.n_filled)
        windows = [i * self.n_filled // n for i in range(n)]
        return windows + [self.n_filled] * (-n % multiple)

    def __getitem__(self, window: int) -> Batch:
        """Return the inputs and targets of one window, both `(T,)`."""
        tokens = self.stream.read(window * self.block_size, self.block_size + 1)
        inputs = np.zeros(self.block_size, np.int64)
        targets = np.full(self.block_size, IGNORED, np.int64)
        if len(tokens) > 1:
            inputs[: len(tokens) - 1] = tokens[:-1]
            targets[: len(tokens) - 1] = tokens[1:]
        return torch.from_numpy(inputs), torch.from_numpy(targets)


class ValidationBatches:
    """Numbers of the windows of each batch of a validation, by one process.

    Args:
        whole: batches of the last validation, which reads all windows.
        sample: batches of a validation during the run.
        is_last: returns whether a validation that begins now is the last one.
    """

    def __init__(
        self, whole: list[list[int]], sample: list[list[int]], is_last: Callable[[], bool]
    ) -> None:
        self.whole = whole
        self.sample = sample
        self.is_last = is_last

    def __len__(self) -> int:
        return len(self.whole)  # Lightning asks once for the most that it has to read

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.whole if self.is_last() else self.sample)


@dataclass(frozen=True)
class Source:
    """The two splits of one source of the corpus.

    Attributes:
        name: its name; empty if it is the whole corpus.
        share: its fraction of the training samples.
        training: its training split.
        validation: its validation split.
        epoch_tokens: tokens of its training split that an epoch reads.
    """

    name: str
    share: float
    training: TokenStream
    validation: TokenStream
    epoch_tokens: int


class PretrainingData(TrainingDataModule):
    """Training blocks in a reproducible order, and the complete validation split of each source.

    Args:
        shards: the tokenized corpus, or a mixture of several.
        block_size: tokens per sample.
        global_batch_size: samples per optimizer step, over all processes.
        micro_batch_size: samples per forward pass of one process.
        seed: selects the order of the samples.
        packing: a name in `PACKINGS`.
        num_workers: data-loading worker processes per training process.
        validate_tokens: minimum tokens of each source that a validation before the last one
            scores; None means the complete split.

    Attributes:
        sources: the sources of the corpus; a single one without a name, unless it is a mixture.

    Raises:
        UserError: a source cannot be cut into blocks, or lacks a split.
    """

    def __init__(
        self,
        shards: TokenShards | Mixture,
        *,
        block_size: int,
        global_batch_size: int,
        micro_batch_size: int,
        seed: int,
        packing: str = "stream",
        num_workers: int = 0,
        validate_tokens: int | None = None,
    ) -> None:
        self.training: TrainingBlocks | PackedRows | MixedBlocks
        if isinstance(shards, Mixture):
            self.training = MixedBlocks(shards, block_size, seed, packing)
            self.sources = _sources(shards, self.training)
        else:
            self.training = PACKINGS[packing](shards.split("train"), block_size, seed)
            stream, tokens = self.training.stream, self.training.epoch_tokens
            self.sources = [Source("", 1.0, stream, shards.split("validation"), tokens)]
        super().__init__(
            self.training,
            global_batch_size=global_batch_size,
            micro_batch_size=micro_batch_size,
            num_workers=num_workers,
        )
        self.block_size = block_size
        self.validate_tokens = validate_tokens
        self._validation: list[Iterable[list[int]]] = []  # the batches of each source

    def val_dataloader(self) -> list[DataLoader[Batch]]:
        """Return this process's validation windows of each source, the same number on each."""
        assert self.trainer is not None  # noqa: S101 - Lightning sets it before this call
        rank, world_size = self.trainer.global_rank, self.trainer.world_size
        loaders = []
        self._validation = []
        for source in self.sources:
            windows = ValidationWindows(source.validation, self.block_size, multiple=world_size)
            whole = self._batches(range(rank, len(windows), world_size))
            batches: Iterable[list[int]] = whole
            if self.validate_tokens is not None:
                sample = windows.spread(self.validate_tokens, multiple=world_size)
                shorter = self._batches(sample[rank::world_size])
                batches = ValidationBatches(whole, shorter, self._ends)
            self._validation.append(batches)
            loaders.append(self.loader(windows, batches, keep_workers=len(self.sources) == 1))
        return loaders

    @property
    def validation_batches(self) -> int:
        """Batches of this process in a validation that begins now; the last one has the most."""
        return sum(1 for batches in self._validation for _ in batches)

    @property
    def validated_tokens(self) -> tuple[int, int]:
        """Tokens of a validation over all processes: of one during the run, of the last one."""
        sizes = [source.validation.n_tokens for source in self.sources]
        return sum(min(size, self.validate_tokens or size) for size in sizes), sum(sizes)

    @property
    def packed(self) -> dict[str, PackedRows]:
        """The rows of each source by its name, if they are packed."""
        training = self.training
        blocks = training.sources if isinstance(training, MixedBlocks) else [training]
        named = zip((source.name for source in self.sources), blocks, strict=True)
        return {name: rows for name, rows in named if isinstance(rows, PackedRows)}

    def _batches(self, windows: Sequence[int]) -> list[list[int]]:
        starts = range(0, len(windows), self.micro_batch_size)
        return [list(windows[i : i + self.micro_batch_size]) for i in starts]

    def _ends(self) -> bool:
        """Return whether no training step follows."""
        trainer = self.trainer
        assert trainer is not None  # noqa: S101 - a validation has begun
        return bool(trainer.should_stop or 0 < trainer.max_steps <= trainer.global_step)

    def documents(self, sample: int) -> list[int] | list[str]:
        """Return the numbers of the documents that a sample reads, with the source in a mixture."""
        return self.training.documents(sample)

    def passes(self, samples: int) -> dict[str, float]:
        """Return the epochs of each source in the first `samples` samples."""
        counts = self.sample_counts(samples)
        return {
            source.name: counts[source.name] * self.block_size / source.epoch_tokens
            for source in self.sources
        }

    def sample_counts(self, samples: int) -> dict[str, int]:
        """Return how many of the first `samples` samples come from each source."""
        if not isinstance(self.training, MixedBlocks):
            return {"": samples}
        return dict(zip(self.training.names, self.training.pattern.counts(samples), strict=True))


def _sources(mixture: Mixture, blocks: MixedBlocks) -> list[Source]:
    """Return the splits of each source of a mixture.

    Raises:
        UserError: a source lacks a split, or its validation split has fewer than two tokens.
    """
    sources = []
    for (name, shards), own in zip(mixture.sources.items(), blocks.sources, strict=True):
        with naming_source(name):
            validation = shards.split("validation")
            ValidationWindows(validation, own.block_size)
            share = mixture.shares[name]
            sources.append(Source(name, share, own.stream, validation, own.epoch_tokens))
    return sources
