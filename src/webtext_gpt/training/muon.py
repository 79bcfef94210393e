"""Muon: momentum whose update of each weight matrix is orthogonalized (Jordan et al. 2024).

For a matrix with the gradient G, the buffer is B = momentum B + (1 - momentum) G, and the update is
the orthogonal factor U V^T of momentum B + (1 - momentum) G = U S V^T (Nesterov's look-ahead).
Every direction in which the matrix can change thus changes as much, including those that the
gradient rarely has. Other parameters are trained by AdamW.

Source: K. Jordan, "Muon: An optimizer for hidden layers in neural networks",
https://kellerjordan.github.io/posts/muon/. `torch.optim.Muon` has the same arithmetic, but iterates
in bf16 on every device, one matrix at a time, and needs whole matrices.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from webtext_gpt.training.orthogonalization import iteration_dtype, orthogonalize
from webtext_gpt.training.step_checks import give_found_inf


class Placed(NamedTuple):
    """A matrix in a flattened group, of which this process holds at least one value."""

    start: int
    """Index of its first value in the group."""
    shape: torch.Size
    stacked: int
    """Number of equally large matrices stacked in its rows."""


class Muon(torch.optim.Optimizer):
    """Muon for weight matrices and AdamW for other parameters, as one optimizer.

    The first group is Muon's, the others are AdamW's.

    Args:
        matrices: the matrices, each with the number of equally large matrices that are stacked in
            its rows and orthogonalized one by one.
        adamw: optimizer of the other parameters; `None` if there are none.
        lr: learning rate; a matrix of r rows and c columns has lr sqrt(max(1, r / c)).
        momentum: decay rate of the momentum.
        ns_steps: Newton-Schulz iterations.
        weight_decay: weight decay of the matrices, decoupled from the gradient.

    Attributes:
        stacked: the number of matrices stacked in each, as in `matrices`.
        found_inf: if not None, a value on the device, 1 or 0: whether `step` is to leave
            everything as it is. Torch's fused AdamW has the same attribute.
    """

    found_inf: Tensor | None = None
    _step_supports_amp_scaling = True  # torch's name for the support of `found_inf`

    def __init__(
        self,
        matrices: Mapping[nn.Parameter, int],
        adamw: torch.optim.AdamW | None,
        *,
        lr: float = 0.02,
        momentum: float = 0.95,
        ns_steps: int = 5,
        weight_decay: float = 0.0,
    ) -> None:
        self.stacked = dict[Tensor, int](matrices.items())
        self._adamw = adamw
        self._partition: tuple[list[Placed], torch.device] | None = None
        group = {
            "params": list(matrices),
            "lr": lr,
            "momentum": momentum,
            "ns_steps": ns_steps,
            "weight_decay": weight_decay,
        }
        super().__init__([group, *(adamw.param_groups if adamw else [])], {"lr": lr})

    def partition(self, placed: Sequence[Placed], device: torch.device) -> None:
        """Declare that Muon's group is flattened, and each process holds an equally long part.

        Args:
            placed: the matrices of which this process holds some values.
            device: where to exchange and orthogonalize updates.
        """
        self._partition = (list(placed), device)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all parameters that have a gradient; with several processes, a collective."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in filter(_is_muons, self.param_groups):
            self._step_matrices(group)
        # Loading a state replaces the groups of this optimizer, and DeepSpeed steps one at a time.
        others = [group for group in self.param_groups if not _is_muons(group)]
        if self._adamw is not None and others:
            self._adamw.param_groups = others
            self._adamw.state = self.state
            give_found_inf(self._adamw, self.found_inf)
            self._adamw.step()
        return loss

    def _step_matrices(self, group: dict[str, Any]) -> None:
        weights = [p for p in group["params"] if p.grad is not None]
        if not weights:
            return
        buffers = [self._momentum(p) for p in weights]
        gradients = [p.grad for p in weights]
        if self.found_inf is not None:  # a gradient equal to its momentum does not change it
            skip = self.found_inf.bool()
            gradients = [torch.where(skip, b, g) for b, g in zip(buffers, gradients, strict=True)]
        torch._foreach_lerp_(buffers, gradients, 1 - group["momentum"])
        updates = torch._foreach_lerp(gradients, buffers, group["momentum"])
        steps = group["ns_steps"]
        if self._partition is None:
            shared = dist.is_initialized() and dist.get_world_size() > 1
            stacked = [self.stacked[p] for p in weights]
            directions = orthogonalize(updates, stacked, steps, shared=shared)
        else:
            directions = [_orthogonalized_part(updates[0], steps, *self._partition)]
        lr, decay = group["lr"], 1 - group["lr"] * group["weight_decay"]
        if self.found_inf is not None:
            goes = 1 - self.found_inf
            torch._foreach_mul_(directions, goes)
            decay = decay * goes + self.found_inf
        torch._foreach_mul_(weights, decay)
        torch._foreach_add_(weights, directions, alpha=-lr)

    def _momentum(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        buffer: Tensor = state["momentum_buffer"]
        return buffer


def _is_muons(group: Mapping[str, Any]) -> bool:
    return "momentum" in group


def _orthogonalized_part(
    update: Tensor, steps: int, placed: Sequence[Placed], device: torch.device
) -> Tensor:
    """Return this process's part of the orthogonalized updates, given its part of the updates.

    A process orthogonalizes every matrix of which it holds some values.

    Args:
        update: `(n,)` values of this process.
        steps: Newton-Schulz iterations.
        placed: see `Muon.partition`.
        device: see `Muon.partition`.
    """
    mine = update.to(device).to(iteration_dtype(device, update.dtype))
    size = len(mine)
    whole = mine.new_empty(dist.get_world_size() * size)
    dist.all_gather_into_tensor(whole, mine)
    matrices = [whole[p.start :][: p.shape.numel()].view(p.shape) for p in placed]
    directions = orthogonalize(matrices, [p.stacked for p in placed], steps)
    part = torch.zeros_like(mine)  # also where DeepSpeed has padded the group
    first = dist.get_rank() * size
    for (start, shape, _), direction in zip(placed, directions, strict=True):
        begin, end = max(start, first), min(start + shape.numel(), first + size)
        part[begin - first : end - first] = direction.flatten()[begin - start : end - start]
    return part.to(update.device).to(update.dtype)
