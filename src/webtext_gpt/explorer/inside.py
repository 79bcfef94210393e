"""The residual stream and the MLP of a kept forward pass, and the embeddings of a model."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from webtext_gpt.explorer.tokens import described
from webtext_gpt.explorer.trace import Trace, blocks_of
from webtext_gpt.model import GPT
from webtext_gpt.tokenizer import Tokenizer

PROMOTED = 3
"""Number of tokens shown for each unit of an MLP."""


def lens(trace: Trace, tokenizer: Tokenizer, position: int, n: int) -> dict[str, Any]:
    """Return the predictions after each block, as if it were the last (nostalgebraist 2020).

    The final normalization and the output layer are applied to the residual stream after the
    embedding and after each block. A post-norm model has no final normalization.

    Returns:
        `layers`, each with its `name`, the `norm` (L2) of the stream, the n likeliest `tokens`, and
        `next_probability`, the probability of the token that follows in the text; and `next`, that
        token. The last two are None at the end of the text.
    """
    names = ["embedding", *(f"block {number}" for number in range(1, len(trace.blocks) + 1))]
    streams = [trace.embedding, *(block.output for block in trace.blocks)]
    states = torch.stack([stream[position] for stream in streams])  # (n_layer + 1, n_embd)
    probabilities = trace.model.lm_head(trace.model.ln_f(states)).float().softmax(dim=-1)
    top = probabilities.topk(min(n, probabilities.size(-1)))
    following = trace.ids[position + 1 : position + 2]  # one token, or none
    layers = [
        {
            "name": name,
            "norm": state.float().norm().item(),
            "tokens": described(tokenizer, ids.tolist(), probability=values.tolist()),
            "next_probability": row[following].item() if following else None,
        }
        for name, state, ids, values, row in zip(
            names, states, top.indices, top.values, probabilities, strict=True
        )
    ]
    return {"layers": layers, "next": described(tokenizer, following)[0] if following else None}


def units(trace: Trace, tokenizer: Tokenizer, position: int, n: int) -> dict[str, Any]:
    """Return the most active units of every MLP, after the activation function.

    A unit adds its activation times a column of `c_proj` to the residual stream. `promotes` are
    the tokens whose logits that column raises most if it goes straight to the output layer (Geva
    et al. 2022).
    """
    found, columns = [], []
    for block, kept in zip(blocks_of(trace.model), trace.blocks, strict=True):
        active = block.mlp.activation(block.mlp.c_fc(kept.mlp_input[position])).float()
        top = active.topk(min(n, len(active)))
        found.append(zip(top.indices.tolist(), top.values.tolist(), strict=True))
        columns.append(block.mlp.c_proj.weight[:, top.indices].T)  # (n, n_embd)
    promoted = (
        straight_to_logits(trace.model, torch.cat(columns))
        .topk(min(PROMOTED, trace.model.config.vocab_size))
        .indices
    )
    tokens = (described(tokenizer, ids) for ids in promoted.tolist())
    return {
        "layers": [
            {
                "units": [
                    {"unit": unit, "activation": activation, "promotes": next(tokens)}
                    for unit, activation in layer
                ]
            }
            for layer in found
        ]
    }


def straight_to_logits(model: GPT, directions: Tensor) -> Tensor:
    """Return the logits `(n, vocab_size)` that directions `(n, n_embd)` of the stream add.

    The last normalization is treated as linear: it centres (LayerNorm only) and applies its gains.
    Its division by the stream's size is left out, which does not change the order of the tokens.
    """
    pre_norm = model.config.norm == "pre"
    norm = model.ln_f if pre_norm else blocks_of(model)[-1].ln_2
    if isinstance(norm, nn.LayerNorm):
        directions = directions - directions.mean(dim=-1, keepdim=True)
    if isinstance(norm.weight, Tensor):
        directions = directions * norm.weight
    return F.linear(directions, model.lm_head.weight).float()


def positions(model: GPT) -> NDArray[np.float32]:
    """Return the position encodings, `(block_size, n_embd)`, or `(block_size, head_dim)` if rotary.

    Rotary encodings alternate the sine and the cosine of each pair's angle.
    """
    is_learned = model.config.positions == "learned"
    table = model.wpe.weight if is_learned else model.get_buffer("sinusoids")
    encodings: NDArray[np.float32] = table.float().cpu().numpy()
    return encodings


def neighbours(model: GPT, tokenizer: Tokenizer, token: int, n: int) -> dict[str, Any]:
    """Return the n tokens with the most similar input embeddings, by cosine."""
    rows = model.wte.weight.float()
    norms = rows.norm(dim=-1).clamp(min=torch.finfo(torch.float32).tiny)  # a zero row has cosine 0
    similarities = rows @ (rows[token] / norms[token]) / norms
    similarities[token] = -2.0  # below every cosine: a token is no neighbour of itself
    top = similarities.topk(min(n, len(similarities) - 1))
    found = described(tokenizer, top.indices.tolist(), similarity=top.values.tolist())
    return {"token": described(tokenizer, [token])[0], "neighbours": found}
