"""Muon: momentum whose update of each weight matrix is orthogonalized (Jordan et al. 2024).

For a matrix with the gradient G, the buffer is B = momentum B + (1 - momentum) G, and the update is
the orthogonal factor U V^T of momentum B + (1 - momentum) G = U S V^T (Nesterov), computed roughly
by Newton-Schulz iterations. Every direction in which the matrix can change thus changes as much,
including those that the gradient rarely has. Other parameters are trained by AdamW.

Source: K. Jordan, "Muon: An optimizer for hidden layers in neural networks",
https://kellerjordan.github.io/posts/muon/. `torch.optim.Muon` has the same arithmetic, but iterates
in bf16 on every device and one matrix at a time.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic; chosen by Jordan for a steep slope at 0, at the price of singular values between
0.7 and 1.2 in the end instead of 1."""
EPS = 1e-7


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
    """

    def __init__(
        self,
        matrices: dict[nn.Parameter, int],
        adamw: torch.optim.AdamW | None,
        *,
        lr: float = 0.02,
        momentum: float = 0.95,
        ns_steps: int = 5,
        weight_decay: float = 0.0,
    ) -> None:
        self.stacked = dict[Tensor, int](matrices.items())
        self._adamw = adamw
        group = {
            "params": list(matrices),
            "lr": lr,
            "momentum": momentum,
            "ns_steps": ns_steps,
            "weight_decay": weight_decay,
        }
        super().__init__([group, *(adamw.param_groups if adamw else [])], {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in filter(_is_muons, self.param_groups):
            self._step_matrices(group)
        if self._adamw is not None:
            # Loading a state, and DeepSpeed for each group, replace the lists of this optimizer.
            self._adamw.param_groups = [g for g in self.param_groups if not _is_muons(g)]
            self._adamw.state = self.state
            self._adamw.step()
        return loss

    def _step_matrices(self, group: dict[str, Any]) -> None:
        weights = [p for p in group["params"] if p.grad is not None]
        if not weights:
            return
        gradients = [p.grad for p in weights]
        buffers = [self._momentum(p) for p in weights]
        torch._foreach_lerp_(buffers, gradients, 1 - group["momentum"])
        updates = torch._foreach_lerp(gradients, buffers, group["momentum"])
        directions = self._orthogonalized(weights, updates, group["ns_steps"])
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(weights, directions, alpha=-group["lr"])

    def _momentum(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        buffer: Tensor = state["momentum_buffer"]
        return buffer

    def _orthogonalized(
        self, weights: Sequence[Tensor], updates: Sequence[Tensor], steps: int
    ) -> list[Tensor]:
        """Return the scaled orthogonal factors of matrices, those of one shape at once."""
        stacks = [
            u.unflatten(0, (self.stacked[w], -1)) for w, u in zip(weights, updates, strict=True)
        ]
        shapes: dict[tuple[int, ...], list[int]] = {}
        for index, stack in enumerate(stacks):
            shapes.setdefault(tuple(sorted(stack.shape[1:])), []).append(index)
        directions: list[Tensor] = [torch.empty(0)] * len(stacks)
        for members in shapes.values():
            wide = [_wide(stacks[index]) for index in members]
            factors = newton_schulz(torch.cat(wide), steps).split([len(w) for w in wide])
            for index, factor in zip(members, factors, strict=True):
                rows, columns = stacks[index].shape[1:]
                scaled = factor * math.sqrt(max(1, rows / columns))
                scaled = scaled if rows <= columns else scaled.mT
                directions[index] = scaled.reshape_as(updates[index]).to(updates[index].dtype)
        return directions


def _is_muons(group: Mapping[str, Any]) -> bool:
    return "momentum" in group


def _wide(stack: Tensor) -> Tensor:
    """Return `(n, r, c)` matrices with r <= c, transposed if need be."""
    return stack if stack.size(1) <= stack.size(2) else stack.mT


def newton_schulz(matrices: Tensor, steps: int = 5) -> Tensor:
    """Return roughly U V^T of matrices U S V^T, by iterating X = a X + b X X^T X + c (X X^T)^2 X.

    Args:
        matrices: `(n, r, c)` with r <= c.
        steps: iterations.
    """
    a, b, c = COEFFICIENTS
    X = matrices.to(iteration_dtype(matrices.device))
    X = X / X.norm(dim=(1, 2), keepdim=True).clamp(min=EPS)  # singular values of at most 1
    for _ in range(steps):
        A = X @ X.mT
        B = torch.baddbmm(A, A, A, beta=b, alpha=c)
        X = torch.baddbmm(X, B, X, beta=a)
    return X


def iteration_dtype(device: torch.device) -> torch.dtype:
    """Return bf16 where the device multiplies matrices in it, else fp32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float32
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") else torch.float32
    return torch.float32
