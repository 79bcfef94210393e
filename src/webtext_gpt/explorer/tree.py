"""The tree of likely continuations of a text."""

from typing import Any

import torch

from webtext_gpt.explorer.tokens import described
from webtext_gpt.explorer.trace import Trace
from webtext_gpt.model import KeyValueCache
from webtext_gpt.tokenizer import Tokenizer


def continuations(
    tokenizer: Tokenizer, trace: Trace, shorter: Trace, width: int, depth: int
) -> list[dict[str, Any]]:
    """Return the `width` likeliest next tokens, each with those after it, and so on.

    The keys and values of the text are taken from its trace, so that each level costs the forward
    pass of its own tokens only.

    Args:
        tokenizer: the model's.
        trace: of the text, which gives the first level.
        shorter: the same, or if that does not leave room for `depth - 1` more tokens in the
            context, of the end of the text that does; it gives the levels below.
        width: number of tokens after each node.
        depth: number of levels.

    Returns:
        Tokens with their `probability` after the text and the tokens on the way, the `joint`
        probability of the way and the token, and their `children`.
    """
    model = trace.model
    root: list[dict[str, Any]] = []
    parents, joints = [root], [1.0]
    logits = trace.next_logits[None]  # (nodes of the level, vocab_size)
    cache = _filled(shorter, depth - 1)
    for level in range(depth):
        probabilities, ids = logits.float().softmax(dim=-1).topk(min(width, logits.size(-1)))
        nodes = []
        for parent, joint, tokens, values in zip(
            parents, joints, ids.tolist(), probabilities.tolist(), strict=True
        ):
            parent.extend(
                {**token, "joint": joint * token["probability"], "children": []}
                for token in described(tokenizer, tokens, probability=values)
            )
            nodes += parent
        if level < depth - 1:
            cache.keep([row for row in range(len(ids)) for _ in range(ids.size(1))])
            hidden = model.hidden_states(ids.view(-1, 1), cache)
            logits = model.lm_head(hidden[:, -1])
        parents, joints = [node["children"] for node in nodes], [node["joint"] for node in nodes]
    return root


def _filled(trace: Trace, n_more: int) -> KeyValueCache:
    """Return a cache that holds the text of a trace, with room for some more tokens."""
    device = trace.hidden.device
    cache = KeyValueCache(len(trace.ids) + n_more, torch.zeros(1, dtype=torch.long, device=device))
    for layer in range(len(trace.blocks)):
        _, k, v = trace.heads(layer)
        cache.extend(layer, k[None], v[None])
    cache.advance(len(trace.ids))
    return cache
