"""The language-model loss of texts of unequal lengths, each by itself."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def text_losses(
    lm_head: nn.Module, hidden: Tensor, tokens: Tensor, lengths: Tensor, starts: Tensor
) -> tuple[Tensor, Tensor]:
    """Nats `(B,)` of each text's tokens, and how many tokens `(B,)` those are.

    Position t predicts token t + 1. Logits are computed of the positions that count alone.

    Args:
        lm_head: from states to logits `(..., vocab_size)`.
        hidden: `(B, T, n_embd)` final states.
        tokens: `(B, T)` ids, padded on the right.
        lengths: `(B,)` tokens of each text without its padding.
        starts: `(B,)` position of the first token of each that counts, at least 1.
    """
    position = torch.arange(1, tokens.size(1), device=tokens.device)
    counted = (position >= starts[:, None]) & (position < lengths[:, None])  # (B, T - 1)
    logits = lm_head(hidden[:, :-1][counted]).float()  # (tokens that count, vocab_size)
    nats = F.cross_entropy(logits, tokens[:, 1:][counted], reduction="none")
    each = nats.new_zeros(counted.shape).masked_scatter(counted, nats)
    return each.sum(dim=1), counted.sum(dim=1)


def mean_text_loss(
    lm_head: nn.Module, hidden: Tensor, tokens: Tensor, lengths: Tensor, starts: Tensor
) -> Tensor:
    """Mean over texts of each text's mean nats a token, as GPT-1's fine-tuning has it.

    Texts count alike, so that the mean of micro-batches of equal size is that of the whole batch.
    Arguments as `text_losses`.
    """
    nats, counts = text_losses(lm_head, hidden, tokens, lengths, starts)
    return (nats / counts.clamp(min=1)).mean()
