"""Cross-entropy of a large vocabulary without the logits of a whole batch.

With V = 50,257 the logits are by far the largest tensor of a step, and the plain loss makes four of
them: logits, log-probabilities, and the gradients of both. Here the output layer and the loss are
computed for some positions at a time, together with their gradients: the gradient of the logits is
softmax minus one-hot, and overwrites the logits in one buffer.
"""

import math

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from webtext_gpt.model.gpt import IGNORED, Head

CHUNK_BYTES = 64 * 2**20
"""Size of the buffer for logits, up to one row."""


def chunked_cross_entropy(hidden: Tensor, head: Head, targets: Tensor) -> Tensor:
    """Return `cross_entropy(head(hidden), targets)`, up to the order of summation.

    The gradients are computed with the loss, so this is for training only. Under autocast, the
    matrix products are in its precision, and all else in fp32.

    Args:
        hidden: `(B, T, n_embd)` final hidden states.
        head: the output layer.
        targets: `(B, T)` token ids; positions with `IGNORED` are left out.
    """
    loss: Tensor = _ChunkedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden.flatten(0, 1), head.weight, targets.flatten(), head.cap
    )
    return loss


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Mean over N positions; arguments `(N, C)`, `(V, C)`, `(N,)` and the cap of the logits."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, hidden: Tensor, weight: Tensor, targets: Tensor, cap: float | None
    ) -> Tensor:
        kind = hidden.device.type
        is_mixed = torch.is_autocast_enabled(kind)
        dtype = torch.get_autocast_dtype(kind) if is_mixed else hidden.dtype
        x, w = hidden.to(dtype), weight.to(dtype)
        chunks = math.ceil(len(x) * len(w) * 4 / CHUNK_BYTES)
        rows = math.ceil(len(x) / chunks)  # about the same in each
        logits = x.new_empty(rows, len(w), dtype=torch.float32)
        products = logits if dtype == torch.float32 else x.new_empty(rows, len(w))
        loss = logits.new_zeros(())
        has_ignored = bool((targets == IGNORED).any())
        grad_hidden = torch.empty_like(x)
        grad_weight = torch.zeros_like(weight, dtype=torch.float32)
        for x_part, target, grad_part in zip(
            *(torch.split(whole, rows) for whole in (x, targets, grad_hidden)), strict=True
        ):
            product = torch.mm(x_part, w.t(), out=products[: len(x_part)])
            z = logits[: len(x_part)].copy_(product)
            slope = None
            if cap is not None:
                z.div_(cap).tanh_()
                slope = 1 - z.square()
                z.mul_(cap)
            torch.log_softmax(z, dim=1, out=z)
            ignored = target == IGNORED
            index = target.masked_fill(ignored, 0)[:, None]  # (rows, 1)
            loss -= z.gather(1, index)[:, 0].masked_fill(ignored, 0).sum()
            z.exp_()  # now the probabilities, and then the gradient of the logits
            z.scatter_add_(1, index, z.new_full(index.shape, -1))
            if slope is not None:
                z.mul_(slope)
            if has_ignored:
                z[ignored] = 0
            product.copy_(z)
            torch.mm(product, w, out=grad_part)
            if dtype == torch.float32:
                grad_weight.addmm_(product.t(), x_part)
            else:
                grad_weight += torch.mm(product.t(), x_part)
        count = (targets != IGNORED).sum()
        ctx.save_for_backward(grad_hidden, grad_weight, count)
        ctx.dtypes = hidden.dtype, weight.dtype  # type: ignore[attr-defined]
        return loss / count

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_hidden, grad_weight, count = ctx.saved_tensors  # type: ignore[attr-defined]
        factor = grad / count
        hidden_dtype, weight_dtype = ctx.dtypes  # type: ignore[attr-defined]
        return (
            (grad_hidden * factor).to(hidden_dtype),
            grad_weight.mul_(factor).to(weight_dtype),
            None,
            None,
        )
