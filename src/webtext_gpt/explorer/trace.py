"""A forward pass that is kept in memory, so that the page can show every number of it later.

Hooks keep five vectors of each position in each block: query, key and value as `c_attn` gives them,
the input of the MLP, and the output. The forward pass is the model's own and takes no longer;
attention weights, MLP units and the rest are computed from these vectors on request. GPT-2
small with 1,024 tokens needs (5 x 12 + 2) x 768 x 1,024 values in fp32, 195 MB. All attention
weights at once would need 604 MB and grow with the square of the length.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT
from webtext_gpt.model.gpt import Block

KEPT_BYTES = 400 * 2**20
"""Bytes for the traces of one model: two of 1,024 tokens of GPT-2 small, hundreds of short ones.
The newest is kept even if it needs more."""

LOGIT_ROWS = 128
"""Positions whose logits are computed at once: 26 MB in fp32 for GPT-2's vocabulary."""

LN_2 = 0.6931471805599453


@dataclass
class BlockTrace:
    """Values that one block computed for T positions."""

    qkv: Tensor
    """`(1, T, 3 n_embd)` output of `c_attn`."""
    rotation: Tensor | None
    """`(T, head_dim)` rotary encodings, see `model.gpt.rotate`."""
    values: Tensor | None
    """`(1, T, n_embd)` value embeddings."""
    mlp_input: Tensor
    """`(T, n_embd)`"""
    output: Tensor
    """`(T, n_embd)` residual stream after the block."""


@dataclass
class Trace:
    """Values that a model computed for a text of T tokens; use it under `torch.inference_mode`.

    Attributes:
        model: the model.
        ids: `T` token ids.
        embedding: `(T, n_embd)` residual stream before the first block.
        hidden: `(T, n_embd)` final hidden states, after the last normalization.
        blocks: one per block.
    """

    model: GPT
    ids: list[int]
    embedding: Tensor
    hidden: Tensor
    blocks: list[BlockTrace] = field(repr=False)

    def heads(self, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return a block's queries, keys and values, `(n_head, T, head_dim)` each."""
        kept = self.blocks[layer]
        q, k, v = blocks_of(self.model)[layer].attn.heads(kept.qkv, kept.rotation, kept.values)
        return q[0], k[0], v[0]

    @cached_property
    def next_logits(self) -> Tensor:
        """`(vocab_size,)` logits of the token after the text, in fp32."""
        logits: Tensor = self.model.lm_head(self.hidden[-1:])[0]
        return logits.float()

    @cached_property
    def likeliest(self) -> Tensor:
        """`(vocab_size,)` ids by `next_logits`, highest first; of equals the first, as argmax."""
        return self.next_logits.argsort(descending=True, stable=True)

    @cached_property
    def surprise(self) -> list[float]:
        """-log2 p(token) of every token but the first, in bits, computed in fp32."""
        targets = torch.tensor(self.ids[1:], dtype=torch.long, device=self.hidden.device)
        parts = zip(self.hidden[:-1].split(LOGIT_ROWS), targets.split(LOGIT_ROWS), strict=True)
        return [
            nats / LN_2
            for hidden, target in parts
            for nats in F.cross_entropy(
                self.model.lm_head(hidden).float(), target, reduction="none"
            ).tolist()
        ]

    @property
    def n_bytes(self) -> int:
        """Memory that is kept, in bytes."""
        kept = [self.embedding, self.hidden]
        for block in self.blocks:
            kept += [block.qkv, block.mlp_input, block.output]
            kept += [] if block.values is None else [block.values]
        return sum(tensor.nbytes for tensor in kept)


@torch.inference_mode()
def trace(model: GPT, ids: Sequence[int]) -> Trace:
    """Run the model on a text and keep the vectors that it computes.

    Args:
        model: in evaluation mode.
        ids: at least one token, at most `block_size`.

    Raises:
        UserError: the model computes numbers that are not finite.
    """
    owner = threading.get_ident()
    seen: dict[str, list[Any]] = {name: [] for name in ("x", "qkv", "attn", "mlp", "block")}

    def before(name: str) -> Callable[[nn.Module, Any], None]:
        def keep(module: nn.Module, args: Any) -> None:
            if threading.get_ident() == owner:  # another thread may use the model at the same time
                seen[name].append(args)

        return keep

    def after(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def keep(module: nn.Module, args: Any, output: Tensor) -> None:
            if threading.get_ident() == owner:
                seen[name].append(output)

        return keep

    with ExitStack() as hooks:
        handles = [model.dropout.register_forward_hook(after("x"))]
        for block in blocks_of(model):
            handles.append(block.attn.register_forward_pre_hook(before("attn")))
            handles.append(block.attn.c_attn.register_forward_hook(after("qkv")))
            handles.append(block.mlp.register_forward_pre_hook(before("mlp")))
            handles.append(block.register_forward_hook(after("block")))
        for handle in handles:
            hooks.callback(handle.remove)
        hidden = model.hidden_states(torch.tensor([ids], device=model.wte.weight.device))
    if not hidden.isfinite().all():
        raise UserError(
            "the model computes numbers that are not finite; its training diverged or its file is "
            "damaged, so give another checkpoint"
        )
    kept = [
        BlockTrace(qkv, rotation, values, mlp_input[0], output[0])
        for qkv, (_, _, _, rotation, values), (mlp_input,), output in zip(
            seen["qkv"], seen["attn"], seen["mlp"], seen["block"], strict=True
        )
    ]
    return Trace(model, list(ids), seen["x"][0][0], hidden[0], kept)


class Traces:
    """The traces of the most recently requested texts.

    Args:
        model: in evaluation mode.
        most_bytes: memory for all of them; the newest is kept even if it needs more.
    """

    def __init__(self, model: GPT, most_bytes: int = KEPT_BYTES) -> None:
        self.model = model
        self.most_bytes = most_bytes
        self._kept: OrderedDict[tuple[int, ...], Trace] = OrderedDict()

    def get(self, ids: Sequence[int]) -> Trace:
        """Return the trace of a text; compute it if it is not in memory."""
        key = tuple(ids)
        if key not in self._kept:
            self._kept[key] = trace(self.model, ids)
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and self.n_bytes > self.most_bytes:
            self._kept.popitem(last=False)
        return self._kept[key]

    @property
    def n_bytes(self) -> int:
        """Memory of all traces, in bytes."""
        return sum(one.n_bytes for one in self._kept.values())


def blocks_of(model: GPT) -> list[Block]:
    """Return the model's blocks, with their type."""
    return cast("list[Block]", list(model.blocks))
