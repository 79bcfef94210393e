"""Contract 5: the global batch is declared in tokens; what cannot be divided is refused."""

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.training.batch import plan_batch


@pytest.mark.parametrize(
    ("tokens", "block", "devices", "micro", "expected"),
    [  # expected: sequences of a step, of a forward pass, passes of a device
        (2**19, 1024, 8, 16, (512, 16, 4)),  # GPT-2's batch on eight devices
        (2**19, 1024, 8, None, (512, 8, 8)),  # at most 8,192 tokens at once
        (768, 64, 1, None, (12, 12, 1)),  # nanoGPT's character model
        (16_384, 256, 1, None, (64, 32, 2)),
        (16_384, 1024, 8, None, (16, 2, 1)),
        (None, 256, 1, None, (16, 16, 1)),
        (None, 1024, 8, None, (16, 2, 1)),
        (None, 1024, 3, None, (18, 6, 1)),  # the least above 16 that three devices can share
        (7 * 1024, 1024, 1, None, (7, 7, 1)),
        (11 * 1024, 1024, 1, None, (11, 1, 11)),  # 11 sequences do not fit, and 11 is prime
    ],
)
def test_sequences_are_divided_into_micro_batches_and_passes(
    tokens: int | None, block: int, devices: int, micro: int | None, expected: tuple
) -> None:
    plan = plan_batch(tokens, block, devices, micro)
    assert (plan.global_batch_size, plan.micro_batch_size, plan.accumulation) == expected
    assert plan.tokens == (tokens or plan.global_batch_size * block)


def test_an_impossible_division_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"= 12288; nearest possible: 491520 or 503808"):
        plan_batch(500_000, 1024, 4, 3)
    with pytest.raises(UserError, match=r"= 8192; nearest possible: 8192$"):
        plan_batch(1000, 1024, 8)
