"""The tree of likely continuations of a text."""

from typing import Any

import torch
from torch import Tensor

from webtext_gpt.explorer.tokens import described
from webtext_gpt.explorer.trace import Trace
from webtext_gpt.model import KeyValueCache
from webtext_gpt.tokenizer import Tokenizer


def continuations(
    tokenizer: Tokenizer, trace: Trace, shorter: Trace, width: int, depth: int
) -> list[dict[str, Any]]:
    """Return the `width` likeliest next tokens, each with those after it, and so on.

    The keys and values of the text are taken from its trace, and one cache holds the path to the
    current node. So each node above the lowest level costs the forward pass of its own token, and
    the memory does not grow with the tree.

    Args:
        tokenizer: the model's.
        trace: trace of the text, which gives the first level.
        shorter: trace of the text or, if that leaves no room for `depth - 1` more tokens in the
            context, of as much of its end as does; it gives the levels below.
        width: number of tokens after each node.
        depth: number of levels.

    Returns:
        Tokens with their `probability` after the text and the tokens on the path, the `joint`
        probability of the path and the token, and their `children`.
    """
    model, cache = trace.model, _filled(shorter, depth - 1)

    def grown(logits: Tensor, joint: float, levels: int) -> list[dict[str, Any]]:
        top = logits.float().softmax(dim=-1).topk(min(width, len(logits)))
        nodes = described(tokenizer, top.indices.tolist(), probability=top.values.tolist())
        for node in nodes:
            node["joint"] = joint * node["probability"]
            node["children"] = []
            if levels > 1:
                token = torch.tensor([[node["id"]]], device=logits.device)
                hidden = model.hidden_states(token, cache)
                node["children"] = grown(model.lm_head(hidden)[0, 0], node["joint"], levels - 1)
                cache.forget(1)
        return nodes

    return grown(trace.next_logits, 1.0, depth)


def _filled(trace: Trace, n_more: int) -> KeyValueCache:
    """Return a cache that holds the text of a trace, with room for some more tokens."""
    device = trace.hidden.device
    cache = KeyValueCache(len(trace.ids) + n_more, torch.zeros(1, dtype=torch.long, device=device))
    for layer in range(len(trace.blocks)):
        _, k, v = trace.heads(layer)
        cache.extend(layer, k[None], v[None])
    cache.advance(len(trace.ids))
    return cache
