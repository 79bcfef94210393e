"""Averages of the weights, kept in the optimizer's state.

Each process averages only the fp32 values that it updates, and checkpoints of every strategy save
the averages exactly, as they save Adam's moments.
"""

from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from webtext_gpt.checkpoint.store import Checkpoint, save_checkpoint

AVERAGE = "average"
SNAPSHOT = "snapshot_"
"""Keys in a parameter's optimizer state: its average, and the weights that a window keeps."""
AVERAGE_FILE = "average.ckpt"
OF_TRAINING = ("state_dict", "optimizer_states", "lr_schedulers", "callbacks", "loops")
"""Keys of the checkpoint that `average.ckpt` leaves out."""

State = MutableMapping[str, Any]
"""The optimizer's state of one parameter."""


class Average(Protocol):
    """One kind of average."""

    @property
    def copies(self) -> int:
        """Values kept for each parameter."""
        ...

    def update(self, state: State, weight: Tensor, number: int) -> None:
        """Take in the weights after an optimizer step; `number` counts the steps from 1."""
        ...

    def mean(self, state: State) -> Tensor | None:
        """Return the average; `None` if there is none yet."""
        ...


@dataclass(frozen=True)
class Ema:
    """Exponential moving average with Adam's correction of its start (Kingma and Ba 2015, sec. 3).

    After n steps, the weights w_i have the shares (1 - decay) decay^(n - i) / (1 - decay^n), which
    sum to 1. The initial weights have none.
    """

    decay: float

    @property
    def copies(self) -> int:
        """See `Average`."""
        return 1

    def update(self, state: State, weight: Tensor, number: int) -> None:
        """See `Average`."""
        if AVERAGE not in state:
            state[AVERAGE] = weight.detach().clone()
        else:
            share = (1 - self.decay) / (1 - self.decay**number)
            state[AVERAGE].lerp_(weight.detach(), share)

    def mean(self, state: State) -> Tensor | None:
        """See `Average`."""
        return state.get(AVERAGE)


@dataclass(frozen=True)
class Window:
    """Mean of the weights after every `interval`-th of the last `steps` steps (Kaddour 2022)."""

    steps: int
    interval: int

    @property
    def copies(self) -> int:
        """See `Average`."""
        return self.steps // self.interval

    def update(self, state: State, weight: Tensor, number: int) -> None:
        """See `Average`."""
        if number % self.interval:
            return
        key = f"{SNAPSHOT}{(number // self.interval - 1) % self.copies}"
        if key in state:
            state[key].copy_(weight.detach())
        else:
            state[key] = weight.detach().clone()

    def mean(self, state: State) -> Tensor | None:
        """See `Average`."""
        taken = [state[key] for key in sorted(state) if key.startswith(SNAPSHOT)]
        if not taken:
            return None
        total = taken[0].clone()
        for snapshot in taken[1:]:
            total += snapshot
        return total / len(taken)


def forget(states: MutableMapping[Any, State]) -> None:
    """Drop the averages of another kind, or of an earlier part of a run, from optimizer states."""
    for state in states.values():
        for key in [key for key in state if key == AVERAGE or key.startswith(SNAPSHOT)]:
            del state[key]


def write_average(checkpoint: Checkpoint, average: Average, names: list[str]) -> Path | None:
    """Write `average.ckpt` beside a checkpoint: the average in it, as a self-contained model.

    Args:
        checkpoint: the checkpoint.
        average: the kind of average.
        names: names of the parameters, in the order of the optimizer.

    Returns:
        The file; `None` if there is no average yet, in which case none is written.

    Raises:
        OSError: it cannot be written.
    """
    contents = checkpoint.contents()
    (optimizer,) = contents["optimizer_states"]
    numbers = [number for group in optimizer["param_groups"] for number in group["params"]]
    weights: dict[str, Tensor] = contents["state_dict"]
    means: dict[int, Tensor] = {}  # by address of the weights, since tied weights share one
    for index, name in zip(numbers, names, strict=True):
        mean = average.mean(optimizer["state"].get(index, {}))
        if mean is not None:
            means[weights[name].data_ptr()] = mean.to(weights[name].dtype)
    if not means:
        return None
    averaged = {name: means.get(w.data_ptr(), w) for name, w in weights.items()}
    described = {key: value for key, value in contents.items() if key not in OF_TRAINING}
    path = checkpoint.path.resolve().with_name(AVERAGE_FILE)
    save_checkpoint({"state_dict": averaged, **described}, path)
    return path
