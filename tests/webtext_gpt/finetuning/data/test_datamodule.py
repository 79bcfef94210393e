"""The order of fine-tuning's examples: each once per epoch, similar lengths together."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from webtext_gpt.finetuning.data.datamodule import GROUP, FinetuningData, LengthGroups
from webtext_gpt.finetuning.data.sequences import EncodedExamples, Sequences, collate


@pytest.mark.parametrize(("n", "size"), [(7, 3), (64, 8), (1000, 32), (5, 8), (1, 4), (33, 32)])
def test_every_example_is_seen_once_per_epoch(n: int, size: int) -> None:
    order = LengthGroups(np.arange(n) % 13, size, seed=1)
    for epoch in range(3):
        drawn = [order.example(epoch * n + sample) for sample in range(n)]
        assert sorted(drawn) == list(range(n))


def test_the_order_depends_on_the_seed_and_the_epoch() -> None:
    lengths = np.arange(1000) % 50
    first, again, other = (LengthGroups(lengths, 8, seed) for seed in (1, 1, 2))
    drawn = [first.example(sample) for sample in range(1000)]
    assert [again.example(sample) for sample in range(1000)] == drawn
    assert [other.example(sample) for sample in range(1000)] != drawn
    assert [first.example(sample) for sample in range(1000, 2000)] != drawn


def test_batches_hold_similar_lengths_even_across_epochs() -> None:
    """Padding is at most 5 %; in random order it would be about half of all tokens."""
    n, size = 10_007, 32
    lengths = np.random.default_rng(0).integers(1, 129, n)
    order = LengthGroups(lengths, size, seed=0)
    batches = [
        lengths[[order.example(b * size + i) for i in range(size)]] for b in range(3 * n // size)
    ]
    padded = sum(size * batch.max() for batch in batches)
    assert sum(batch.sum() for batch in batches) / padded > 0.95
    means = [batch.mean() for batch in batches[: GROUP // 2]]
    assert np.std(np.diff(means)) > 20  # short and long batches are mixed, not sorted


def _data(n: int, micro: int) -> FinetuningData:
    tokens = [np.full(1 + row % 5, row, dtype=np.int64) for row in range(n)]
    sequences = Sequences(tokens, np.ones(n, dtype=np.int64), 0)
    examples = EncodedExamples(sequences, np.arange(n), [f"row {row}" for row in range(n)])
    return FinetuningData(
        examples, examples, global_batch_size=4, micro_batch_size=micro, pad=99, seed=0
    )


class _Trainer:
    """Stub with the attributes that a data module reads of its trainer."""

    def __init__(self, rank: int, world_size: int, step: int = 0) -> None:
        self.global_rank, self.world_size, self.global_step = rank, world_size, step
        self.strategy = SimpleNamespace(root_device=torch.device("cpu"))


def test_devices_share_the_batch_of_one_device() -> None:
    whole = _data(11, 4)
    whole.trainer = _Trainer(0, 1, step=3)
    expected = next(iter(whole.train_dataloader()))
    parts = []
    for rank in (0, 1):
        data = _data(11, 2)
        data.trainer = _Trainer(rank, 2, step=3)
        parts.append(next(iter(data.train_dataloader())))
    assert torch.cat([part.samples for part in parts]).tolist() == expected.samples.tolist()
    assert torch.cat([part.targets for part in parts]).tolist() == expected.targets.tolist()
    assert whole.documents(12) == [f"row {whole.order.example(12)}"]
    assert data.samples(3, 2).tolist() == [[[12, 13], [14, 15]]]


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_validation_covers_every_row_with_equal_batches(world_size: int) -> None:
    rows, counts = [], []
    for rank in range(world_size):
        data = _data(11, 4)
        data.trainer = _Trainer(rank, world_size)
        batches = list(data.val_dataloader())
        counts.append([len(batch.samples) for batch in batches])
        rows += [row for batch in batches for row in batch.samples.tolist()]
    assert set(rows) == set(range(11))
    assert all(count == counts[0] for count in counts)


def test_padding_is_on_the_right() -> None:
    batch = collate([(np.array([5, 6, 7]), 1, 0, 40), (np.array([8]), 1, 1, 41)], pad=99)
    assert batch.tokens.tolist() == [[5, 6, 7], [8, 99, 99]]
    assert batch.lengths.tolist() == [3, 1]
    pairs = collate([(np.array([[5, 6], [6, 5]]), 1, 0, 1), (np.array([[7], [7]]), 1, 1, 2)], 99)
    assert pairs.tokens.tolist() == [[[5, 6], [6, 5]], [[7, 99], [7, 99]]]
