"""`config.json` of Hugging Face's `MarianMTModel`, and the files beside its weights."""

from collections.abc import Mapping
from typing import Any

from webtext_gpt.errors import UserError
from webtext_gpt.model.transformer import TransformerConfig
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.weights.config_json import check_number
from webtext_gpt.weights.folder import CONFIG, to_json
from webtext_gpt.weights.tokenizer_files import tokenizer_files

MODEL_TYPE = "marian"
ARCHITECTURE = "MarianMTModel"

ACTIVATIONS = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu2": "relu_squared",
}
"""Our name of each activation; if several have the same value, the first is written."""

DEFAULTS = {
    "vocab_size": 58_101,
    "max_position_embeddings": 1024,
    "encoder_layers": 12,
    "decoder_layers": 12,
    "encoder_attention_heads": 16,
    "decoder_attention_heads": 16,
    "encoder_ffn_dim": 4096,
    "decoder_ffn_dim": 4096,
    "d_model": 1024,
    "activation_function": "gelu",
    "dropout": 0.1,
    "attention_dropout": 0.0,
    "scale_embedding": False,
    "eos_token_id": 0,
    "decoder_start_token_id": 58_100,
    "tie_word_embeddings": True,
}
"""Defaults of the fields that a `config.json` may omit, those of `MarianConfig`."""

WHOLE = ("vocab_size", "encoder_layers", "decoder_layers", "encoder_attention_heads", "d_model")
MOST_POSITIONS = 2**16


def write_files(config: TransformerConfig, tokenizer: Tokenizer) -> dict[str, str]:
    """Return `config.json`, `generation_config.json` and the tokenizer's files by name.

    The tokenizer ends each text with end-of-text, which also begins a translation and pads.

    Raises:
        UserError: Marian cannot express the model; the message names the option.
    """
    end = tokenizer.end_of_text
    if config.source_vocab_size is not None:
        raise UserError(
            "a model of data.vocabulary=separate cannot be exported: the export to "
            f"{ARCHITECTURE} has one vocabulary; train with data.vocabulary=joint"
        )
    for name, only in (("norm", "post"), ("positions", "sinusoidal")):
        if (value := getattr(config, name)) != only:
            raise UserError(
                f"model.{name}={value} cannot be exported: {ARCHITECTURE} supports only "
                f"{only} {'positions' if name == 'positions' else 'normalization'}"
            )
    ends = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
    tokens = dict.fromkeys((*ends, "forced_eos_token_id"), end)
    activation = next(name for name, ours in ACTIVATIONS.items() if ours == config.activation)
    fields = {
        "architectures": [ARCHITECTURE],
        "model_type": MODEL_TYPE,
        "is_encoder_decoder": True,
        "vocab_size": config.vocab_size,
        "decoder_vocab_size": config.vocab_size,
        "max_position_embeddings": config.block_size,
        "d_model": config.n_embd,
        **{f"{side}_attention_heads": config.n_head for side in ("encoder", "decoder")},
        **{f"{side}_ffn_dim": 4 * config.n_embd for side in ("encoder", "decoder")},
        "encoder_layers": config.n_encoder_layer,
        "decoder_layers": config.n_decoder_layer,
        "activation_function": activation,
        "dropout": config.dropout,
        "attention_dropout": config.attn_dropout,
        "activation_dropout": 0.0,
        "scale_embedding": True,
        "share_encoder_decoder_embeddings": True,
        "tie_word_embeddings": config.tied_embeddings,
        "dtype": "float32",
        **tokens,
    }
    generation = {**tokens, "max_length": config.block_size}
    return {
        CONFIG: to_json(fields),
        "generation_config.json": to_json(generation),
        **tokenizer_files(tokenizer, config.block_size, ends_texts=True),
    }


def read_config(fields: Mapping[str, Any]) -> TransformerConfig:
    """Return the configuration of the fields of a `config.json`.

    Raises:
        UserError: a field has a value that our model cannot express, or an invalid one.
    """
    fields = {**DEFAULTS, **fields}
    for name in WHOLE:
        check_number(name, fields[name], whole=True)
    check_number("max_position_embeddings", fields["max_position_embeddings"], whole=True)
    for name in ("dropout", "attention_dropout"):
        check_number(name, fields[name])
    if fields["max_position_embeddings"] > MOST_POSITIONS:
        raise UserError(
            f"max_position_embeddings is {fields['max_position_embeddings']}, above "
            f"{MOST_POSITIONS}"
        )
    width, heads = 4 * fields["d_model"], fields["encoder_attention_heads"]
    required = {
        "scale_embedding": True,
        "share_encoder_decoder_embeddings": True,
        "is_encoder_decoder": True,
        "normalize_before": False,
        "normalize_embedding": False,
        "add_final_layer_norm": False,
        "static_position_embeddings": True,
        "encoder_ffn_dim": width,
        "decoder_ffn_dim": width,
        "decoder_attention_heads": heads,
        "decoder_vocab_size": fields["vocab_size"],
        "quantization_config": None,
        "auto_map": None,
    }
    for name, value in required.items():
        if fields.get(name) not in (None, value):
            raise UserError(f"{name} is {fields[name]!r}; our model supports only {value!r}")
    activation = fields["activation_function"]
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise UserError(
            f"activation_function is {activation!r}, not one of {', '.join(ACTIVATIONS)}"
        )
    start, end = fields["decoder_start_token_id"], fields["eos_token_id"]
    if start != end:
        raise UserError(
            f"decoder_start_token_id is {start!r} and eos_token_id is {end!r}; in our model one "
            "token begins and ends a translation"
        )
    if not isinstance(fields["tie_word_embeddings"], bool):
        raise UserError(f"tie_word_embeddings is {fields['tie_word_embeddings']!r}, not a boolean")
    return TransformerConfig(
        n_encoder_layer=fields["encoder_layers"],
        n_decoder_layer=fields["decoder_layers"],
        n_head=heads,
        n_embd=fields["d_model"],
        block_size=fields["max_position_embeddings"],
        vocab_size=fields["vocab_size"],
        activation=ACTIVATIONS[activation],
        dropout=fields["dropout"],
        attn_dropout=fields["attention_dropout"],
        tied_embeddings=fields["tie_word_embeddings"],
    )
