"""Settings of the model: `model.KEY`. The choices of `model=` are sizes, in conf/model."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Tag, model_validator

from webtext_gpt.settings.base import TARGET, Target, setting
from webtext_gpt.settings.kinds import (
    Number,
    OneOf,
    Switch,
    Whole,
)

Dropout = Number(0, below=1)
GPT = "webtext_gpt.model.GPTConfig"
TRANSLATOR = "webtext_gpt.model.transformer.TransformerConfig"
"""Targets of the two kinds of model."""


class Model(Target):
    """Shape and options of the model, as in `webtext_gpt.model.GPTConfig`."""

    target: Literal["webtext_gpt.model.GPTConfig"] = setting(
        "webtext_gpt.model.GPTConfig", alias="_target_"
    )
    n_layer: Annotated[int, Whole(1)] = setting(12, "number of blocks", common=True)
    n_head: Annotated[int, Whole(1)] = setting(
        12, "attention heads per block; must divide n_embd", common=True
    )
    n_embd: Annotated[int, Whole(1)] = setting(768, "width of the residual stream", common=True)
    block_size: Annotated[int, Whole(1, unit="tokens")] = setting(
        1024, "length of the context", common=True
    )
    vocab_size: Annotated[int | None, Whole(1, null="the tokenizer's vocabulary")] = setting(
        None, "number of token ids"
    )
    norm: Annotated[str, OneOf(("pre", "post"))] = setting(
        "pre",
        "layer normalization before each sub-block (pre, GPT-2) or after each sum (post, GPT-1)",
    )
    activation: Annotated[str, OneOf(("gelu_tanh", "gelu", "relu", "relu_squared"))] = setting(
        "gelu_tanh", "activation of the MLP"
    )
    positions: Annotated[str, OneOf(("learned", "sinusoidal", "rotary"))] = setting(
        "learned", "position embeddings, or rotary: queries and keys rotated by their position"
    )
    scale_embeddings: Annotated[bool, Switch()] = setting(
        False, "multiply token embeddings by sqrt(n_embd), as Vaswani et al. 2017"
    )
    embd_dropout: Annotated[float, Dropout] = setting(
        0.0, "dropout on the sum of token and position embeddings"
    )
    attn_dropout: Annotated[float, Dropout] = setting(0.0, "dropout on the attention weights")
    resid_dropout: Annotated[float, Dropout] = setting(
        0.0, "dropout on the output of each sub-block"
    )
    tied_embeddings: Annotated[bool, Switch()] = setting(
        True, "share the token embedding's weights with the output layer"
    )
    init_std: Annotated[float, Number(above=0)] = setting(
        0.02, "standard deviation of the initial weights"
    )
    scaled_residual_init: Annotated[bool, Switch()] = setting(
        True, "divide the initial weights of residual projections by sqrt(2 n_layer), as GPT-2"
    )
    zero_init_projections: Annotated[bool, Switch()] = setting(
        False, "start the residual projections at zero, whatever scaled_residual_init says"
    )
    biases: Annotated[bool, Switch()] = setting(
        True, "biases of linear layers and of layer normalization"
    )
    norm_type: Annotated[str, OneOf(("layer", "rms"))] = setting(
        "layer", "layer normalization, or by the root mean square alone"
    )
    norm_gains: Annotated[bool, Switch()] = setting(
        True, "trained gains (and, with model.biases, biases) of the normalization"
    )
    qk_norm: Annotated[bool, Switch()] = setting(
        False, "normalize queries and keys by their root mean square"
    )
    residual_scalars: Annotated[bool, Switch()] = setting(
        False, "trained scalars of the residual stream and of the embeddings before each block"
    )
    value_embeddings: Annotated[bool, Switch()] = setting(
        False, "a second embedding of each token, added to the values of every second block"
    )
    logits_soft_cap: Annotated[float | None, Number(above=0, null="no cap")] = setting(
        None, "bound c of the logits: z becomes c tanh(z / c)"
    )

    @model_validator(mode="after")
    def _check_width(self) -> Self:
        given = self.model_fields_set
        # With a checkpoint, one of them may be given alone, and the checkpoint has the other.
        if {"n_embd", "n_head"} <= given and self.n_embd % self.n_head:
            raise ValueError(
                f"model.n_embd={self.n_embd} does not divide into model.n_head={self.n_head} heads"
            )
        width = self.n_embd // self.n_head
        if self.positions == "rotary" and {"n_embd", "n_head"} <= given and width % 2:
            raise ValueError(
                f"model.positions=rotary rotates pairs of values, and model.n_embd={self.n_embd} / "
                f"model.n_head={self.n_head} = {width} is odd; set another n_embd or n_head"
            )
        if self.positions == "sinusoidal" and self.n_embd % 2:
            raise ValueError(
                f"model.positions=sinusoidal needs an even model.n_embd, not {self.n_embd}"
            )
        return self


class TransformerModel(Target):
    """`model=transformer_base`: an encoder-decoder, as in `TransformerConfig`."""

    target: Literal["webtext_gpt.model.transformer.TransformerConfig"] = setting(alias="_target_")
    n_encoder_layer: Annotated[int, Whole(1)] = setting(
        6, "number of blocks of the encoder of a translation model"
    )
    n_decoder_layer: Annotated[int, Whole(1)] = setting(6, "number of blocks of its decoder")
    n_head: Annotated[int, Whole(1)] = setting(8, "attention heads per block; must divide n_embd")
    n_embd: Annotated[int, Whole(1)] = setting(512, "width of the residual streams")
    block_size: Annotated[int, Whole(2, unit="tokens")] = setting(
        512, "longest source and longest target"
    )
    vocab_size: Annotated[int | None, Whole(1, null="the tokenizer's vocabulary")] = setting(
        None, "number of token ids, of both languages"
    )
    source_vocab_size: Annotated[
        int | None, Whole(1, null="with data.vocabulary=separate, that of the sources' tokenizer")
    ] = setting(
        None,
        "with data.vocabulary=separate: number of token ids of the sources; vocab_size is then "
        "that of the targets",
    )
    norm: Annotated[str, OneOf(("post", "pre"))] = setting(
        "post", "layer normalization after each sum (post, Vaswani et al.) or before (pre)"
    )
    activation: Annotated[str, OneOf(("relu", "gelu", "gelu_tanh", "relu_squared"))] = setting(
        "relu", "activation of the MLP"
    )
    positions: Annotated[str, OneOf(("sinusoidal", "learned"))] = setting(
        "sinusoidal", "position encodings of source and target"
    )
    dropout: Annotated[float, Dropout] = setting(
        0.1,
        "dropout of a translation model: on the output of each sub-block, and on the sums of "
        "embeddings and positions",
    )
    attn_dropout: Annotated[float, Dropout] = setting(0.0, "dropout on the attention weights")
    tied_embeddings: Annotated[bool, Switch()] = setting(
        True, "share the token embedding's weights with the output layer"
    )

    @model_validator(mode="after")
    def _check_width(self) -> Self:
        if self.n_embd % self.n_head:
            raise ValueError(
                f"model.n_embd={self.n_embd} does not divide into model.n_head={self.n_head} heads"
            )
        if self.positions == "sinusoidal" and self.n_embd % 2:
            raise ValueError(
                f"model.positions=sinusoidal needs an even model.n_embd, not {self.n_embd}"
            )
        return self


def _tag(values: object) -> str:
    """Return the target of a choice of `model=`; keys without a choice belong to a GPT."""
    given = values.get(TARGET) if isinstance(values, Mapping) else getattr(values, "target", None)
    return str(given) if given == TRANSLATOR else GPT


AnyModel = Annotated[
    Annotated[Model, Tag(GPT)] | Annotated[TransformerModel, Tag(TRANSLATOR)], Discriminator(_tag)
]
