"""Estimate the time of an optimizer step by formulas, on devices that need not be here.

A step computes `GPTConfig.flops_per_token` for each token, at an assumed share of the peak (MFU),
which counts no recomputation. With checkpointed activations, the forward pass is computed twice: a
third more (Korthikanti et al. 2022, section 5).

The traffic between N devices follows Rajbhandari et al. 2020 (ZeRO, section 7). In a ring, each
device sends 2 (N - 1) / N of the values in an all-reduce (Patarasuk and Yuan 2009), and half of
that in a reduce-scatter or an all-gather. DDP and ZeRO-1 reduce gradients once a step, ZeRO-2, 3
and FSDP after each micro-batch. ZeRO-1 and 2 gather the parameters after the step; ZeRO-3 and FSDP
gather them for each forward and each backward pass.
"""

from dataclasses import dataclass

RECOMPUTED = 4 / 3
"""Operations with checkpointed activations, as a multiple of those without."""


@dataclass(frozen=True)
class StepTime:
    """Time of one optimizer step if no device computes while it sends, in seconds."""

    computing: float
    exchange: float

    @property
    def total(self) -> float:
        """Seconds of the step."""
        return self.computing + self.exchange

    @property
    def share(self) -> float:
        """Fraction of the step spent on the exchange between devices."""
        return self.exchange / self.total


def sent_bytes(
    n_parameters: int, stage: int, devices: int, accumulation: int, *, half: bool, pure: bool
) -> float:
    """Return the bytes that each device sends in one optimizer step.

    Args:
        n_parameters: parameters of the model, tied weights counted once.
        stage: ZeRO stage; 0 is DDP or one process, and 3 also FSDP.
        devices: number of devices.
        accumulation: micro-batches of one device in a step.
        half: whether to use bf16. DDP's gradients are in fp32 all the same.
        pure: whether the precision is bf16-true, in which DDP's gradients are in bf16, too.
    """
    width = 2 if half and (stage > 0 or pure) else 4
    passes = (2, 2, accumulation + 1, 3 * accumulation)[stage]
    return passes * width * n_parameters * (devices - 1) / devices


def computing_seconds(flops: float, speed: float, *, recompute: bool) -> float:
    """Return the seconds that devices take for the operations of a step.

    Args:
        flops: floating-point operations of the step over all devices, without recomputation.
        speed: FLOP/s that all devices reach together.
        recompute: whether activations are checkpointed.
    """
    return flops * (RECOMPUTED if recompute else 1) / speed
