"""Orthogonal factors of many matrices at once, by Newton-Schulz iterations on products alone.

Matrices of one shape, such as those of all layers, are iterated in one batch, on GPUs compiled.
"""

import functools
import math
import os
import shutil
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import torch
import torch.distributed as dist
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Jordan's quintic: steep at 0, so that five iterations are enough; singular values end between
about 0.7 and 1.2 instead of at 1."""
EPS = 1e-7


def orthogonalize(
    matrices: Sequence[Tensor], stacked: Sequence[int], steps: int, *, shared: bool = False
) -> list[Tensor]:
    """Return roughly U V^T sqrt(max(1, r / c)) of matrices U S V^T with r rows and c columns.

    The factor makes the update of a matrix change the root mean square of its outputs as much as
    that of its inputs allows, whatever its shape (Jordan).

    Args:
        matrices: the matrices.
        stacked: for each, how many equally large ones are stacked in its rows.
        steps: Newton-Schulz iterations.
        shared: every process has the same matrices; each iterates some of them, and all exchange
            the results.
    """
    wide: dict[tuple[int, int], list[Tensor]] = {}  # (n, r, c) of each matrix, with r <= c
    shapes = []
    for matrix, n in zip(matrices, stacked, strict=True):
        stack = matrix.unflatten(0, (n, -1))
        r, c = sorted(stack.shape[1:])
        shapes.append((n, *stack.shape[1:]))
        wide.setdefault((r, c), []).append(stack if stack.size(1) == r else stack.mT)
    iterate = newton_schulz_shared if shared else newton_schulz
    factors = {
        shape: iter(iterate(torch.cat(stacks), steps).split([len(stack) for stack in stacks]))
        for shape, stacks in wide.items()
    }
    results = []
    for matrix, (_, rows, columns) in zip(matrices, shapes, strict=True):
        r, c = sorted((rows, columns))
        factor = next(factors[r, c]) * math.sqrt(max(1, rows / columns))
        factor = factor if rows == r else factor.mT
        results.append(factor.reshape_as(matrix).to(matrix.dtype))
    return results


def newton_schulz(matrices: Tensor, steps: int = 5) -> Tensor:
    """Return roughly U V^T of matrices U S V^T, by iterating X = (a + b A + c A A) X, A = X X^T.

    Args:
        matrices: `(n, r, c)` with r <= c.
        steps: iterations.
    """
    X = matrices.to(iteration_dtype(matrices.device, matrices.dtype))
    is_long = X.size(2) >= 2 * X.size(1) and X.dtype != torch.bfloat16
    iterate = _by_gram_matrices if is_long else _by_products
    return (_compiled(iterate) if is_compiled_on(X.device) else iterate)(X, steps)


def _by_products(X: Tensor, steps: int) -> Tensor:
    a, b, c = COEFFICIENTS
    X = _scaled(X)
    for _ in range(steps):
        A = X @ X.mT
        B = torch.baddbmm(A, A, A, beta=b, alpha=c)
        X = torch.baddbmm(X, B, X, beta=a)
    return X


def _by_gram_matrices(X: Tensor, steps: int) -> Tensor:
    """Return the same with fewer products of `(r, c)` matrices, which are the large ones.

    Every X is Q times the first, with Q and A polynomials of the first A, so the iterations need
    only `(r, r)` matrices: for c = 4 r and five steps, 50 instead of 90 products of that size.
    A holds the squares of the singular values, which bf16 would round too much.
    """
    a, b, c = COEFFICIENTS
    X = _scaled(X)
    A, Q = X @ X.mT, None
    for step in range(steps):
        P = torch.baddbmm(A, A, A, beta=b, alpha=c)
        P.diagonal(dim1=1, dim2=2).add_(a)
        Q = P if Q is None else P @ Q
        if step < steps - 1:
            A = P @ A @ P
    return X if Q is None else Q @ X


def _scaled(X: Tensor) -> Tensor:
    """Return the matrices with singular values of at most 1."""
    return X / X.norm(dim=(1, 2), keepdim=True).clamp(min=EPS)


def is_compiled_on(device: torch.device) -> bool:
    """Return whether the iterations are compiled: on GPUs, if there is a compiler.

    That saves passes over memory between the products. On a CPU the products take nearly all of
    the time, and compiling takes longer than a short run.
    """
    return device.type == "cuda" and _has_gpu_compiler()


@functools.cache
def _has_gpu_compiler() -> bool:
    """Return whether Triton is installed, and the C compiler that it needs."""
    compilers = (os.environ.get("CC") or "gcc", "clang")
    return find_spec("triton") is not None and any(map(shutil.which, compilers))


@functools.cache
def _compiled(iterate: Callable[[Tensor, int], Tensor]) -> Callable[[Tensor, int], Tensor]:
    """Return the compiled function; it compiles once per shape, and a model has few shapes."""
    return torch.compile(iterate, dynamic=False)


def newton_schulz_shared(matrices: Tensor, steps: int = 5) -> Tensor:
    """Return the same as `newton_schulz`; each process iterates its share of the matrices."""
    size, rank = dist.get_world_size(), dist.get_rank()
    share = -(-len(matrices) // size)
    mine = matrices[rank * share : (rank + 1) * share]
    missing = share - len(mine)
    mine = torch.cat((mine, mine.new_zeros(missing, *matrices.shape[1:]))) if missing else mine
    mine = newton_schulz(mine, steps).contiguous()
    every = mine.new_empty(size * share, *matrices.shape[1:])
    dist.all_gather_into_tensor(every, mine)
    return every[: len(matrices)]


def iteration_dtype(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """Return bf16 where the device multiplies matrices in it, else fp32; fp64 stays.

    The iterations need no more than bf16 (Jordan), but a CPU that has to emulate it is slower than
    in fp32.
    """
    if dtype == torch.float64:
        return dtype
    has_bf16 = False
    if device.type == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        able = torch.cpu.get_capabilities()
        has_bf16 = bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return torch.bfloat16 if has_bf16 else torch.float32
