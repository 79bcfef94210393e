"""Speed of training by depth on this machine, from timed passes of two models."""

import dataclasses
import os
import time
from dataclasses import dataclass

import torch

from webtext_gpt.dial.laws import Cost, Shape
from webtext_gpt.model import GPT, GPTConfig, cross_entropy

MEASURED = "WEBTEXT_GPT_SPEED"
"""Environment variable with the measured speed, for the processes that this one starts.

All of them must derive the same settings.
"""
PROBED = (Shape(3), Shape(6))
PROBE_TOKENS = 2048
N_PASSES = 4


@dataclass(frozen=True)
class Speed:
    """Seconds per token of forward and backward passes: c k + s F(k) for depth k.

    c is the time of a block that does not depend on its width, such as kernel launches on a GPU.
    """

    seconds_per_layer: float
    seconds_per_flop: float

    def seconds(self, shape: Shape, cost: Cost) -> float:
        """Return the seconds that a token takes."""
        return self.seconds_per_layer * shape.n_layer + self.seconds_per_flop * cost.flops(shape)


def speed_of(times: dict[Shape, float], cost: Cost) -> Speed:
    """Return the speed from the seconds per token of a smaller and a larger shape."""
    (small, t_small), (large, t_large) = times.items()
    f_small, f_large = (cost.flops(shape) / shape.n_layer for shape in times)
    t_small, t_large = t_small / small.n_layer, t_large / large.n_layer
    per_flop = (t_large - t_small) / (f_large - f_small)
    per_layer = t_small - per_flop * f_small
    if per_layer < 0 or per_flop < 0:  # noise, or products that are faster for larger matrices
        return Speed(0.0, t_large / f_large)
    return Speed(per_layer, per_flop)


def measured_speed(config: GPTConfig, device: str, *, half: bool) -> Speed:
    """Return the speed of one device of this machine, measured once in a process.

    Args:
        config: options of the models that are timed; their shape is replaced.
        device: kind of the device.
        half: whether training multiplies in bf16.
    """
    known = os.environ.get(MEASURED)
    if known is None:
        times = {shape: _seconds_per_token(config, shape, device, half) for shape in PROBED}
        speed = speed_of(times, Cost(config.vocab_size, config.block_size))
        known = f"{speed.seconds_per_layer!r} {speed.seconds_per_flop!r}"
        os.environ[MEASURED] = known
    return Speed(*map(float, known.split()))


def _seconds_per_token(config: GPTConfig, shape: Shape, device: str, half: bool) -> float:
    """Return the median time of a pass over random tokens, after one that warms up kernels."""
    config = dataclasses.replace(
        config, n_layer=shape.n_layer, n_head=shape.n_head, n_embd=shape.n_embd
    )
    sequences = max(1, PROBE_TOKENS // config.block_size)
    times = []
    with torch.random.fork_rng():
        model = GPT(config).to(device)
        tokens = torch.randint(config.vocab_size, (sequences, config.block_size)).to(device)
        for _ in range(N_PASSES):
            started = time.perf_counter()
            with torch.autocast(device, torch.bfloat16, enabled=half):
                cross_entropy(model(tokens), tokens).backward()
            if device == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
    return sorted(times[1:])[len(times) // 2 - 1] / tokens.numel()
