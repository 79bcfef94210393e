"""Attention of a translation's tokens to those of its source, by layer and head."""

from functools import partial

import torch
from torch import Tensor

from webtext_gpt.data.pair_layout import decoder_input, source_ids
from webtext_gpt.errors import UserError
from webtext_gpt.model.transformer import CrossAttention, Transformer
from webtext_gpt.pair_tokenizer import source_tokenizer
from webtext_gpt.tokenizer import EncodingError, Tokenizer


@torch.inference_mode()
def alignment(model: Transformer, tokenizer: Tokenizer, source: str, target: str) -> Tensor:
    """Return the decoder's attention weights to the source, `(n_decoder_layer, n_head, T, S)`.

    Row t is the attention of the position that predicts token t of the target; the last row
    predicts end-of-text, so T is the target's number of tokens + 1. The last column is the
    source's end-of-text. Each row sums to 1.

    Args:
        model: in evaluation mode.
        tokenizer: the model's.
        source: a sentence.
        target: its translation; white space around both is ignored.

    Raises:
        UserError: a text cannot be encoded or does not fit in the model's context.
    """
    encoded = encoded_pair(model, tokenizer, source, target)
    device = model.wte.weight.device
    end_of_source = source_tokenizer(tokenizer).end_of_text
    inputs = torch.tensor([source_ids(encoded[0], end_of_source)], device=device)
    outputs = torch.tensor([decoder_input(encoded[1], tokenizer.end_of_text)], device=device)
    found: list[Tensor] = []
    layers = [module for module in model.decoder.modules() if isinstance(module, CrossAttention)]
    hooks = [layer.register_forward_pre_hook(partial(_attend, found)) for layer in layers]
    try:
        lengths = torch.tensor([inputs.size(1)], device=device)
        model.hidden_states(outputs, model.encode(inputs, lengths))
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(found)


def encoded_pair(
    model: Transformer, tokenizer: Tokenizer, source: str, target: str
) -> tuple[list[int], list[int]]:
    """Return the token ids of a sentence and its translation, without end-of-text.

    Raises:
        UserError: as `alignment`.
    """
    encoded, of_sources = [], source_tokenizer(tokenizer)
    for name, text, side in (("source", source, of_sources), ("target", target, tokenizer)):
        try:
            ids = side.encode(text.strip())
        except EncodingError as error:
            raise UserError(f"the {name}: {error}") from error
        if len(ids) >= model.config.block_size:
            raise UserError(
                f"the {name} has {len(ids)} tokens, which with its end do not fit in the model's "
                f"context of {model.config.block_size}; shorten it"
            )
        encoded.append(ids)
    return encoded[0], encoded[1]


def _attend(found: list[Tensor], cross: CrossAttention, inputs: tuple[Tensor, ...]) -> None:
    """Append the attention weights `(n_head, T, S)` of the arguments of `CrossAttention.forward`.

    Fused attention does not return its weights, so they are computed beside it. One source has no
    padding to mask.
    """
    x, k, _, _ = inputs
    B, T, C = x.shape
    q = cross.c_query(x).view(B, T, cross.n_head, C // cross.n_head).transpose(1, 2)
    logits = q @ k.transpose(2, 3) / (C // cross.n_head) ** 0.5
    found.append(logits.float().softmax(dim=-1)[0])
