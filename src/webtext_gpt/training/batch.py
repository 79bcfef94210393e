"""Division of a global batch, given in tokens or examples, over devices and micro-batches."""

from dataclasses import dataclass

from webtext_gpt.errors import UserError
from webtext_gpt.settings import whole_number

MICRO_BATCH_TOKENS = 8192
"""Default upper limit of a micro-batch, in tokens on one device."""

DEFAULT_SEQUENCES = 16
"""Default global batch size, in sequences."""


@dataclass(frozen=True)
class BatchPlan:
    """Division of one optimizer step over devices and micro-batches."""

    global_batch_size: int
    """Sequences over all devices and micro-batches."""
    micro_batch_size: int
    """Sequences of one forward pass on one device."""
    accumulation: int
    """Micro-batches of one device before the optimizer steps."""
    block_size: int
    """Tokens of one sequence."""

    @property
    def tokens(self) -> int:
        """Tokens of one optimizer step."""
        return self.global_batch_size * self.block_size


def plan_batch(
    global_batch_tokens: int | None,
    block_size: int,
    devices: int,
    micro_batch_size: int | None = None,
) -> BatchPlan:
    """Divide a global batch of tokens over devices and micro-batches.

    Args:
        global_batch_tokens: tokens of one optimizer step; `None` means `DEFAULT_SEQUENCES`
            sequences, rounded up to a number that divides.
        block_size: tokens of one sequence.
        devices: processes over all nodes.
        micro_batch_size: sequences of one forward pass on one device; `None` means the largest
            divisor of the device's share that stays within `MICRO_BATCH_TOKENS`.

    Raises:
        UserError: the batch does not divide; the message names the nearest batches that do.
    """
    if micro_batch_size is not None and micro_batch_size < 1:
        raise UserError(f"micro_batch_size={micro_batch_size} must be at least 1, or null")
    unit = block_size * devices * (micro_batch_size or 1)
    if global_batch_tokens is None:
        global_batch_tokens = -(-DEFAULT_SEQUENCES * block_size // unit) * unit
    parts = f"model.block_size={block_size} x {devices} devices{_times(micro_batch_size)} = {unit}"
    _refuse_remainder("global_batch_tokens", global_batch_tokens, unit, parts)
    share = global_batch_tokens // (block_size * devices)
    return _divided(share, block_size, devices, micro_batch_size)


def plan_examples(
    batch_size: int, longest: int, devices: int, micro_batch_size: int | None = None
) -> BatchPlan:
    """Divide a global batch of examples over devices and micro-batches.

    Args:
        batch_size: examples of one optimizer step.
        longest: tokens of the longest example, both orders of a pair included.
        devices: processes over all nodes.
        micro_batch_size: as in `plan_batch`.

    Raises:
        UserError: the batch does not divide; the message names the nearest batches that do.
    """
    whole_number("batch_size", batch_size, 1)
    if micro_batch_size is not None:
        whole_number("micro_batch_size", micro_batch_size, 1)
    unit = devices * (micro_batch_size or 1)
    _refuse_remainder(
        "batch_size", batch_size, unit, f"{devices} devices{_times(micro_batch_size)}"
    )
    return _divided(batch_size // devices, longest, devices, micro_batch_size)


def _times(micro_batch_size: int | None) -> str:
    return f" x micro_batch_size={micro_batch_size}" if micro_batch_size else ""


def _refuse_remainder(name: str, value: int, unit: int, parts: str) -> None:
    """Refuse a batch that does not divide, and name the nearest batches that do."""
    if value < 1 or value % unit:
        below = value // unit * unit
        nearest = [str(n) for n in (below, below + unit) if n > 0]
        raise UserError(
            f"{name}={value} does not divide by {parts}; nearest possible: {' or '.join(nearest)}"
        )


def _divided(share: int, block_size: int, devices: int, micro_batch_size: int | None) -> BatchPlan:
    """Divide one device's share of a step, in sequences, into micro-batches."""
    if micro_batch_size is None:
        most = max(1, MICRO_BATCH_TOKENS // block_size)
        micro_batch_size = max(m for m in range(1, min(share, most) + 1) if share % m == 0)
    return BatchPlan(
        global_batch_size=share * devices,
        micro_batch_size=micro_batch_size,
        accumulation=share // micro_batch_size,
        block_size=block_size,
    )
