"""Train the embeddings of new tokens while all other rows of the embedding stay frozen.

Radford et al. (2018, section 3.2) count the embeddings of a task's special tokens among the few new
parameters. Their rows become a parameter of their own, `wte.new_rows`, so that gradients, moments
and weight decay exist for them alone. It replaces the rows in the output of the embedding and, if
the weights are tied, of the output layer. Merging copies it into the embedding.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from webtext_gpt.model.classifier import GPTClassifier, language_model
from webtext_gpt.model.gpt import GPT, Head

ROWS = "new_rows"
IDS = "new_ids"
HOOK = "new_rows_hook"


def add_new_rows(model: GPT | GPTClassifier, ids: Sequence[int]) -> None:
    """Give the embeddings of some tokens a parameter of their own.

    The model's outputs do not change at first.

    Args:
        model: changed in place.
        ids: ids of the tokens, in any order.
    """
    body = language_model(model)
    rows = nn.Parameter(body.wte.weight.detach()[list(ids)])
    _replace(body.wte, rows, ids, _embed_new)
    if body.config.tied_embeddings:
        _replace(body.lm_head, rows, ids, _score_new)


@torch.no_grad()
def merge_new_rows(model: GPT | GPTClassifier) -> None:
    """Copy the rows into the embedding and remove what `add_new_rows` added."""
    body = language_model(model)
    body.wte.weight[body.wte.get_buffer(IDS)] = body.wte.get_parameter(ROWS)
    for layer in (body.wte, body.lm_head) if body.config.tied_embeddings else (body.wte,):
        getattr(layer, HOOK).remove()
        for name in (ROWS, IDS, HOOK):
            delattr(layer, name)


def _replace(
    layer: nn.Module,
    rows: nn.Parameter,
    ids: Sequence[int],
    hook: Callable[[nn.Module, tuple[Tensor], Tensor], Tensor],
) -> None:
    layer.register_parameter(ROWS, rows)
    layer.register_buffer(IDS, torch.tensor(ids), persistent=False)
    setattr(layer, HOOK, layer.register_forward_hook(hook))


def _embed_new(wte: nn.Module, args: tuple[Tensor], embedded: Tensor) -> Tensor:
    """Return the embeddings `(B, T, n_embd)` with those of new tokens replaced."""
    is_new = args[0][..., None] == wte.get_buffer(IDS)  # (B, T, new)
    new = F.embedding(is_new.int().argmax(dim=-1), wte.get_parameter(ROWS))
    return torch.where(is_new.any(dim=-1, keepdim=True), new, embedded)


def _score_new(lm_head: nn.Module, args: tuple[Tensor], logits: Tensor) -> Tensor:
    """Return the logits `(..., vocab_size)` with those of new tokens replaced."""
    assert isinstance(lm_head, Head)  # noqa: S101 - only a hook's type says less
    new = lm_head.capped(F.linear(args[0], lm_head.get_parameter(ROWS))).to(logits.dtype)
    return logits.index_copy(-1, lm_head.get_buffer(IDS), new)
