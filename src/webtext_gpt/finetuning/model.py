"""The model that fine-tuning starts from: a pretrained one with a head, or as it is."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from torch import nn

from webtext_gpt.checkpoint.load import load
from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.freeze import freeze
from webtext_gpt.model import GPT, ClassifierConfig, GPTClassifier, language_model
from webtext_gpt.model.gpt import CausalSelfAttention
from webtext_gpt.model.lora import add_lora
from webtext_gpt.settings import number
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.weights import vocabulary

DELIMITER = "<|delimiter|>"
EXTRACT = "<|extract|>"


def load_body(
    checkpoint: str, *, dropout: float | None = None, from_scratch: bool = False
) -> tuple[GPT, Tokenizer]:
    """The language model of a checkpoint in any format, a classifier's body included.

    Args:
        checkpoint: see `webtext_gpt.checkpoint.load.load`.
        dropout: in the embeddings, attention and residual layers; `None` as it was pretrained.
        from_scratch: keep its shape and tokenizer, but draw new weights.

    Raises:
        UserError: it cannot be read, or its tokenizer is not the model's.
    """
    loaded = load(checkpoint)
    body, tokenizer = language_model(loaded.model), loaded.tokenizer
    try:
        if loaded.is_foreign:
            vocabulary.cut_padding(body, tokenizer)
        vocabulary.check(body, tokenizer)
    except UserError as error:
        raise UserError(f"checkpoint={checkpoint}: {error}") from error
    if dropout is not None:
        number("body_dropout", dropout, 0, 1)
        set_dropout(body, dropout)
    return GPT(body.config) if from_scratch else body, tokenizer


def set_dropout(model: GPT, dropout: float) -> None:
    """Change the dropout of a model's embeddings, attention and residual layers, in place."""
    model.config = dataclasses.replace(
        model.config, embd_dropout=dropout, attn_dropout=dropout, resid_dropout=dropout
    )
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
        elif isinstance(module, CausalSelfAttention):
            module.attn_dropout = dropout


def add_head(
    body: GPT,
    tokenizer: Tokenizer,
    labels: Sequence[str],
    *,
    pairs: bool,
    both_orders: bool,
    dropout: float,
) -> tuple[GPTClassifier, Tokenizer]:
    """A classifier on a language model, and the tokenizer with its new tokens.

    Texts start with `<|endoftext|>`, as documents do in pretraining. The delimiter of pairs and
    the extract token are new, and get rows of the embedding; those that the tokenizer has already,
    as of another classifier, stay.

    Args:
        body: changed in place.
        tokenizer: the body's.
        labels: of the classes; one for a number.
        pairs: inputs are two texts.
        both_orders: see `ClassifierConfig`.
        dropout: on the head.
    """
    known = tokenizer.vocab_size
    tokenizer = tokenizer.with_tokens([DELIMITER, EXTRACT] if pairs else [EXTRACT])
    vocabulary.resize(body, known, tokenizer.vocab_size)
    config = ClassifierConfig(
        labels=tuple(labels),
        pad_token_id=tokenizer.end_of_text,
        start_token_id=tokenizer.end_of_text,
        delimiter_token_id=tokenizer.token_id(DELIMITER) if pairs else None,
        extract_token_id=tokenizer.token_id(EXTRACT),
        both_orders=both_orders,
        dropout=dropout,
    )
    return GPTClassifier(body, config), tokenizer


def choose_trained(
    model: GPT | GPTClassifier, layers: int | str, lora: dict[str, Any] | None, lm_weight: float
) -> None:
    """Freeze what is not to be trained.

    Args:
        model: changed in place.
        layers: `all`, or how many of the last blocks.
        lora: arguments of `add_lora`; `None` for none.
        lm_weight: of the auxiliary loss, without which an output layer of its own has no use.

    Raises:
        UserError: the layers are not there, or are chosen beside low-rank adaptation.
    """
    if lora is not None:
        if layers != "all":
            raise UserError(f"lora.rank freezes every layer; leave layers={layers} out")
        add_lora(model, **lora)
    elif layers != "all":
        if isinstance(layers, bool) or not isinstance(layers, int):
            raise UserError(f"layers={layers} is neither all nor a number of layers")
        freeze(model, layers)
    body = language_model(model)
    if model is not body and not lm_weight and not body.config.tied_embeddings:
        body.lm_head.requires_grad_(False)
