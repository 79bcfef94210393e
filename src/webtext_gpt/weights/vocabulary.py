"""Fit the rows of a model's embedding to the ids of its tokenizer."""

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor, nn

from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT
from webtext_gpt.tokenizer import END_OF_TEXT, Tokenizer

PADDED_TO = 64
"""Vocabularies are padded to a multiple of this, or of twice this, for fast matrix products."""


def add_end_of_text(model: GPT, tokenizer: Tokenizer) -> None:
    """Add a row for an end-of-text token that the model lacks: the mean of all rows.

    The logits of the other tokens do not change. The new logit is their mean, so by Jensen's
    inequality its probability never exceeds 1 / vocab_size.

    Raises:
        UserError: the tokenizer is not the model's with end-of-text added at the end.
    """
    if (tokenizer.vocab_size, tokenizer.end_of_text) != (
        model.config.vocab_size + 1,
        model.config.vocab_size,
    ):
        raise UserError(
            f"the tokenizer has {tokenizer.vocab_size} ids and {END_OF_TEXT} is "
            f"{tokenizer.end_of_text}; expected {model.config.vocab_size + 1} and "
            f"{model.config.vocab_size}, one above the model's vocabulary"
        )
    _set_rows(model, lambda rows: torch.cat((rows, rows.mean(dim=0, keepdim=True))))


def resize(model: GPT, known: int, vocab_size: int) -> None:
    """Add rows for new tokens, drawn near the mean of the existing rows (Hewitt 2021).

    The likelihoods of the other tokens hardly change, and no new token is likely by chance.

    Args:
        model: changed in place.
        known: number of ids before the new tokens; rows beyond it are padding and are removed.
        vocab_size: number of ids with the new tokens.
    """
    noise = model.config.init_std * torch.randn(vocab_size - known, model.config.n_embd)
    _set_rows(
        model,
        lambda rows: torch.cat((rows[:known], rows[:known].mean(dim=0, keepdim=True) + noise)),
    )


def cut_padding(model: GPT, tokenizer: Tokenizer) -> None:
    """Remove the unused rows that pad a vocabulary to a multiple of 64.

    Raises:
        UserError: see `check_padding`.
    """
    check_padding(model, tokenizer)
    if model.config.vocab_size != tokenizer.vocab_size:
        _set_rows(model, lambda weight: weight[: tokenizer.vocab_size].clone())


def check_padding(model: GPT, tokenizer: Tokenizer) -> None:
    """Refuse a tokenizer whose ids, padded to a multiple of 64, do not explain the model's rows.

    Raises:
        UserError: the model has more rows than such padding explains, or fewer rows than ids.
    """
    check(model, tokenizer)
    rows = model.config.vocab_size
    if rows != tokenizer.vocab_size and not is_padded(model, tokenizer):
        raise UserError(
            f"the tokenizer has {tokenizer.vocab_size} ids and the model {rows}; they do not "
            "belong together"
        )


def is_padded(model: GPT, tokenizer: Tokenizer) -> bool:
    """Return whether a model has more rows than ids, as padding to a multiple of 64 explains."""
    rows = model.config.vocab_size
    return rows % PADDED_TO == 0 and 0 < rows - tokenizer.vocab_size < 2 * PADDED_TO


def check(model: GPT, tokenizer: Tokenizer) -> None:
    """Refuse a tokenizer with more ids than the model has rows.

    Raises:
        UserError: it has more; the message gives both numbers.
    """
    if tokenizer.vocab_size > model.config.vocab_size:
        raise UserError(
            f"the tokenizer has {tokenizer.vocab_size} ids and the model {model.config.vocab_size}"
            "; they do not belong together"
        )


def _set_rows(model: GPT, change: Callable[[Tensor], Tensor]) -> None:
    with torch.no_grad():
        rows = nn.Parameter(change(model.wte.weight))
        head = rows if model.config.tied_embeddings else nn.Parameter(change(model.lm_head.weight))
        for embedding in model.value_embeddings.children():
            assert isinstance(embedding, nn.Embedding)  # noqa: S101 - for type checkers
            embedding.weight = nn.Parameter(change(embedding.weight))
            embedding.num_embeddings = rows.size(0)
    model.wte.weight = rows
    model.lm_head.weight = head
    model.wte.num_embeddings = model.lm_head.out_features = rows.size(0)
    model.config = dataclasses.replace(model.config, vocab_size=rows.size(0))
