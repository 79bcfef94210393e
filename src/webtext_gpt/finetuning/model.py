"""The model to fine-tune: a pretrained one, with a classification head if the task needs it."""

import dataclasses
from collections.abc import Sequence
from typing import TypedDict

from torch import nn

from webtext_gpt.checkpoint.load import LoadedModel, load, only_gpt
from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, ClassifierConfig, GPTClassifier, language_model
from webtext_gpt.model.gpt import CausalSelfAttention
from webtext_gpt.model.lora import add_lora
from webtext_gpt.model.new_tokens import add_new_rows
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.weights import vocabulary

DELIMITER = "<|delimiter|>"
EXTRACT = "<|extract|>"


class LoraSettings(TypedDict):
    """Arguments of `add_lora`."""

    rank: int
    alpha: float
    dropout: float


def load_body(
    checkpoint: str,
    loaded: LoadedModel | None = None,
    *,
    dropout: float | None = None,
    from_scratch: bool = False,
) -> tuple[GPT, Tokenizer]:
    """Load the language model to fine-tune, and its tokenizer; a classifier's head is dropped.

    Args:
        checkpoint: see `webtext_gpt.checkpoint.load.load`.
        loaded: the checkpoint, if it is already loaded; changed in place.
        dropout: dropout of the embeddings, attention and residual layers; `None` keeps the model's.
        from_scratch: keep the shape and the tokenizer, but draw new weights.

    Raises:
        UserError: the checkpoint cannot be read or is a translation model, or its tokenizer does
            not fit the model.
    """
    if loaded is None:
        loaded = load(checkpoint)
    body, tokenizer = language_model(only_gpt(loaded, checkpoint)), loaded.tokenizer
    try:
        if loaded.is_foreign:
            vocabulary.cut_padding(body, tokenizer)
        vocabulary.check(body, tokenizer)
    except UserError as error:
        raise UserError(f"checkpoint={checkpoint}: {error}") from error
    if dropout is not None:
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
    """Put a classification head on a language model and add its special tokens.

    Texts start with `<|endoftext|>`, as documents do in pretraining. The extract token and the
    delimiter of pairs are new tokens with new embedding rows. If the tokenizer already has them,
    as that of another classifier does, their rows are kept.

    Args:
        body: the language model; changed in place.
        tokenizer: the body's.
        labels: class names; a single one for a regression.
        pairs: whether inputs are pairs of texts.
        both_orders: see `ClassifierConfig`.
        dropout: dropout on the head's input.

    Returns:
        The classifier, and the tokenizer with the new tokens.
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
    model: GPT | GPTClassifier,
    layers: int | str,
    lora: LoraSettings | None,
    lm_weight: float,
    train_new_tokens: bool = True,
) -> list[int] | None:
    """Freeze the weights that are not to be trained, and add LoRA layers if `lora` is given.

    Args:
        model: changed in place.
        layers: `all`, or the number of last blocks to train; see `freeze`.
        lora: arguments of `add_lora`, or `None`.
        lm_weight: weight of the auxiliary loss. If it is 0, a classifier's untied output layer is
            frozen, because nothing uses it.
        train_new_tokens: train the embeddings of a classifier's delimiter and extract tokens even
            if the other embeddings are frozen.

    Returns:
        The tokens whose embeddings are trained apart from the others; `None` if there are none.

    Raises:
        UserError: `layers` is out of range, or is combined with LoRA.
    """
    if lora is not None:
        if layers != "all":
            raise UserError(f"lora.rank freezes every layer; leave layers={layers} out")
        add_lora(model, **lora)
    elif layers != "all":
        if isinstance(layers, bool) or not isinstance(layers, int):
            raise UserError(f"layers={layers} must be all, or a number of layers")
        freeze(model, layers)
    body = language_model(model)
    if model is not body and not lm_weight and not body.config.tied_embeddings:
        body.lm_head.requires_grad_(False)
    if not isinstance(model, GPTClassifier) or body.wte.weight.requires_grad:
        return None
    if not train_new_tokens:
        return None
    special = (model.config.delimiter_token_id, model.config.extract_token_id)
    ids = sorted(token for token in special if token is not None)
    add_new_rows(model, ids)
    return ids


def freeze(model: GPT | GPTClassifier, layers: int) -> None:
    """Freeze everything except the last `layers` blocks, the last norm and a classifier's head.

    Value embeddings and residual scalars are frozen, as the token embeddings are.

    Args:
        model: changed in place.
        layers: number of last blocks to train; 0 also freezes the last norm.

    Raises:
        UserError: the model has fewer blocks, or nothing is left to train.
    """
    body = language_model(model)
    if not 0 <= layers <= body.config.n_layer:
        raise UserError(f"layers={layers}: the model has {body.config.n_layer}; or layers=all")
    if layers == 0 and model is body:
        raise UserError("layers=0 leaves nothing to train without a classification head")
    body.requires_grad_(False)
    for module in (*body.blocks[body.config.n_layer - layers :], body.ln_f):
        module.requires_grad_(layers > 0)
