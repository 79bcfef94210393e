"""A foreign model's embedding rows against the ids of its tokenizer."""

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor, nn

from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT
from webtext_gpt.tokenizer import END_OF_TEXT, Tokenizer

PADDED_TO = 64
"""Vocabularies are padded to multiples of this, or of twice this, for fast matrix products."""


def add_end_of_text(model: GPT, tokenizer: Tokenizer) -> None:
    """Give a model without an end-of-text token a row for it: the mean of all rows.

    Logits of the other tokens stay as they are. That of the new one is their mean, so that its
    probability never exceeds one over the vocabulary's size (by Jensen's inequality).

    Raises:
        UserError: the tokenizer is not the model's with end-of-text added at the end.
    """
    if (tokenizer.vocab_size, tokenizer.end_of_text) != (
        model.config.vocab_size + 1,
        model.config.vocab_size,
    ):
        raise UserError(
            f"the tokenizer has {tokenizer.vocab_size} ids, {END_OF_TEXT} among them as "
            f"{tokenizer.end_of_text}; the model has {model.config.vocab_size}"
        )
    _set_rows(model, lambda rows: torch.cat((rows, rows.mean(dim=0, keepdim=True))))


def resize(model: GPT, known: int, vocab_size: int) -> None:
    """Give a model rows for new tokens, near the mean of the rows that it has (Hewitt 2021).

    The likelihoods of the other tokens hardly move then, and no new token is likely by chance.

    Args:
        model: changed in place.
        known: ids of the tokenizer so far; rows beyond are padding, and go.
        vocab_size: ids of the tokenizer with the new tokens.
    """
    noise = model.config.init_std * torch.randn(vocab_size - known, model.config.n_embd)
    _set_rows(
        model,
        lambda rows: torch.cat((rows[:known], rows[:known].mean(dim=0, keepdim=True) + noise)),
    )


def cut_padding(model: GPT, tokenizer: Tokenizer) -> None:
    """Drop the rows that only fill a vocabulary up to a multiple of 64, which no text has.

    Raises:
        UserError: the tokenizer's size is not that of such a vocabulary.
    """
    check(model, tokenizer)
    rows = model.config.vocab_size
    if rows == tokenizer.vocab_size:
        return
    if rows % PADDED_TO or rows - tokenizer.vocab_size >= 2 * PADDED_TO:
        raise UserError(
            f"the tokenizer has {tokenizer.vocab_size} ids and the model {rows}; they are not of "
            "one another"
        )
    _set_rows(model, lambda weight: weight[: tokenizer.vocab_size].clone())


def check(model: GPT, tokenizer: Tokenizer) -> None:
    """Refuse a tokenizer with ids that the model has no rows for.

    Raises:
        UserError: names both sizes.
    """
    if tokenizer.vocab_size > model.config.vocab_size:
        raise UserError(
            f"the tokenizer has {tokenizer.vocab_size} ids and the model {model.config.vocab_size}"
            "; they are not of one another"
        )


def _set_rows(model: GPT, change: Callable[[Tensor], Tensor]) -> None:
    with torch.no_grad():
        rows = nn.Parameter(change(model.wte.weight))
        head = rows if model.config.tied_embeddings else nn.Parameter(change(model.lm_head.weight))
    model.wte.weight = rows
    model.lm_head.weight = head
    model.wte.num_embeddings = model.lm_head.out_features = rows.size(0)
    model.config = dataclasses.replace(model.config, vocab_size=rows.size(0))
