"""The sampler's hash and the samples that it deals to each process."""

from itertools import islice

import pytest

from webtext_gpt.data.sampler import GlobalBatchSampler, _mix

GOLDEN_GAMMA = 0x9E3779B97F4A7C15


def test_the_hash_is_splitmix64() -> None:
    """Outputs of SplitMix64 with seed 1234567, as published at rosettacode.org."""
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    states = [(1234567 + i * GOLDEN_GAMMA) % 2**64 for i in range(5)]
    assert [_mix(state) for state in states] == published


@pytest.mark.parametrize(
    ("rank", "batches"),
    [
        (0, [[60, 61], [66, 67], [72, 73]]),
        (1, [[62, 63], [68, 69], [74, 75]]),
        (2, [[64, 65], [70, 71], [76, 77]]),
    ],
)
def test_micro_batches_of_each_process(rank: int, batches: list[list[int]]) -> None:
    sampler = GlobalBatchSampler(12, 2, rank=rank, world_size=3, first_step=5)
    assert list(islice(sampler, 3)) == batches


def test_an_impossible_division_is_refused() -> None:
    with pytest.raises(ValueError, match="12 samples do not divide into micro-batches of 4 on 2"):
        GlobalBatchSampler(12, 4, world_size=2)
