"""Learning-rate schedules: functions from the step to a factor of the peak learning rate.

`step` is the number of optimizer steps already taken, so the first update uses step 0. Warm-up is
linear: step 0 gets 1 / warmup_steps of the peak, and step `warmup_steps - 1` the peak itself.
"""

import math


def cosine(step: int, *, warmup_steps: int, total_steps: int, min_ratio: float = 0.0) -> float:
    """Linear warm-up, then half a cosine from 1 to `min_ratio` at `total_steps` (GPT-1, GPT-3)."""
    if step < warmup_steps:
        return _warmup(step, warmup_steps)
    progress = _progress(step, warmup_steps, total_steps)
    return min_ratio + (1 - min_ratio) * 0.5 * (1 + math.cos(math.pi * progress))


def linear(
    step: int,
    *,
    total_steps: int,
    warmup_steps: int | None = None,
    warmup_ratio: float = 0.0,
    min_ratio: float = 0.0,
) -> float:
    """Linear warm-up, then a straight line from 1 to `min_ratio` (GPT-1's fine-tuning).

    `warmup_steps=None` means `warmup_ratio * total_steps`.
    """
    if warmup_steps is None:
        warmup_steps = round(warmup_ratio * total_steps)
    if step < warmup_steps:
        return _warmup(step, warmup_steps)
    return 1 - (1 - min_ratio) * _progress(step, warmup_steps, total_steps)


def inverse_sqrt(step: int, *, warmup_steps: int, total_steps: int = 0) -> float:
    """Linear warm-up, then the inverse square root of the step (Vaswani et al. 2017, eq. 3).

    With a peak of (d warmup_steps)^-0.5 for a model of width d, the learning rate is the paper's
    d^-0.5 min(n^-0.5, n warmup_steps^-1.5), n = step + 1. `total_steps` is ignored.
    """
    if step < warmup_steps:
        return _warmup(step, warmup_steps)
    return math.sqrt(max(1, warmup_steps) / (step + 1))


def constant(step: int, *, warmup_steps: int = 0, total_steps: int = 0) -> float:
    """Linear warm-up, then the peak to the end. `total_steps` is ignored."""
    return _warmup(step, warmup_steps) if step < warmup_steps else 1.0


FORMS = {
    "linear": lambda progress: 1 - progress,
    "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * progress)),
    "sqrt": lambda progress: 1 - math.sqrt(progress),
}
"""Forms of the decay of `wsd`: from 1 to 0 as progress goes from 0 to 1."""


def wsd(
    step: int,
    *,
    warmup_steps: int,
    total_steps: int,
    decay_ratio: float = 0.2,
    decay_form: str = "linear",
    min_ratio: float = 0.0,
) -> float:
    """Warm-up, stable, decay: linear warm-up, the peak, then down to `min_ratio` at `total_steps`.

    Hägele et al. 2024 (Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations)
    call it a constant rate with cooldown; `sqrt` is their 1 - sqrt form. Up to `decay_start`, the
    rate does not depend on `total_steps`.
    """
    if step < warmup_steps:
        return _warmup(step, warmup_steps)
    start = decay_start(total_steps, warmup_steps=warmup_steps, decay_ratio=decay_ratio)
    if step <= start:
        return 1.0
    return min_ratio + (1 - min_ratio) * FORMS[decay_form](_progress(step, start, total_steps))


def decay_start(total_steps: int, *, warmup_steps: int, decay_ratio: float) -> int:
    """Return the number of steps taken when the decay of `wsd` begins."""
    return max(warmup_steps, total_steps - round(decay_ratio * total_steps))


def _warmup(step: int, warmup_steps: int) -> float:
    return (step + 1) / warmup_steps


def _progress(step: int, warmup_steps: int, total_steps: int) -> float:
    """Fraction of the way from the end of warm-up to `total_steps`, at most 1."""
    return min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
