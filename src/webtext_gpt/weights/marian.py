"""Translation models as Hugging Face's `MarianMTModel`, with post-norm blocks like the paper's.

Two things differ, and both convert exactly. Marian keeps query, key and value in separate matrices.
Its sinusoids are all sines followed by all cosines, and ours alternate; permuting the channels of
the residual streams turns one into the other, since nothing else depends on the channels' order.

Marian's own models cannot be read: they have a bias on the logits, SiLU, a separate token that
begins a translation, and SentencePiece vocabularies.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from webtext_gpt.errors import UserError
from webtext_gpt.model.empty import SkipRandomInit
from webtext_gpt.model.gpt import sinusoidal_positions
from webtext_gpt.model.transformer import Transformer, TransformerConfig
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.weights.folder import CONFIG, read_weights
from webtext_gpt.weights.marian_config import DEFAULTS, read_config, write_files
from webtext_gpt.weights.tensors import FLOATS, refuse, same
from webtext_gpt.weights.tokenizer_files import given_tokenizer, read_tokenizer

MODULES = {
    "ln_1": ("self_attn_layer_norm",),
    "attn.c_attn": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attn.c_proj": ("self_attn.out_proj",),
    "ln_cross": ("encoder_attn_layer_norm",),
    "cross.c_query": ("encoder_attn.q_proj",),
    "cross.c_memory": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "cross.c_proj": ("encoder_attn.out_proj",),
    "ln_2": ("final_layer_norm",),
    "mlp.c_fc": ("fc1",),
    "mlp.c_proj": ("fc2",),
}
"""Our modules of a block, and Marian's, whose rows ours stack in this order."""

SHARED = "model.shared.weight"
LM_HEAD = "lm_head.weight"
EMBEDDINGS = ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")
"""Names under which a file may repeat `SHARED`."""
POSITIONS = ("model.encoder.embed_positions.weight", "model.decoder.embed_positions.weight")
LOGITS_BIAS = "final_logits_bias"


def contents(model: Transformer, tokenizer: Tokenizer) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return the files of a model's folder by name, and its weights by Marian's names.

    Raises:
        UserError: Marian cannot express the model, or the tokenizer is not its own.
    """
    _check_vocabulary(model.config, tokenizer)
    order = _sines_first(model.config.n_embd)
    weights: dict[str, Tensor] = {}
    for ours, theirs in names(model):
        value = model.get_parameter(ours).detach()
        if (dim := _channel_dim(ours)) is not None:
            value = value.index_select(dim, order)
        weights.update(zip(theirs, value.chunk(len(theirs)), strict=True))
    if not model.config.tied_embeddings:  # then nothing is tied when it is loaded
        weights.update({name: weights[SHARED].clone() for name in EMBEDDINGS})
    return write_files(model.config, tokenizer), weights


def load(
    folder: Path, fields: Mapping[str, Any], tokenizer: str | Path | None
) -> tuple[Transformer, Tokenizer]:
    """Return the model and tokenizer of a folder, in evaluation mode on the CPU in fp32.

    Args:
        folder: with `config.json`, weights, and `tokenizer.json`.
        fields: contents of `config.json`.
        tokenizer: see `given_tokenizer`. Defaults to the folder's own.

    Raises:
        UserError: a file is missing or damaged, or our model cannot express this one.
    """
    try:
        config = read_config(fields)
    except UserError as error:
        raise UserError(f"{folder / CONFIG}: {error}") from error
    tensors = read_weights(folder)
    if max(config.n_encoder_layer, config.n_decoder_layer) > len(tensors):
        raise UserError(f"{folder / CONFIG} has more layers than there are tensors, {len(tensors)}")
    _drop_repeated(tensors, config, folder)
    with torch.device("meta"), SkipRandomInit():
        shapes = Transformer(config)
    state = _state(shapes, tensors, folder)
    ours = read_tokenizer(folder) if tokenizer is None else given_tokenizer(tokenizer)
    _check_vocabulary(config, ours)
    if ours.end_of_text != (end := fields.get("eos_token_id", DEFAULTS["eos_token_id"])):
        raise UserError(
            f"{folder / CONFIG}: eos_token_id is {end}, and the tokenizer's "
            f"<|endoftext|> is {ours.end_of_text}; they have to be the same"
        )
    with SkipRandomInit():
        model = Transformer(config)
    model.load_state_dict(state, strict=False)  # tied weights are given once
    return model.eval(), ours


def names(model: Transformer) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield our name of each weight, and Marian's names of its parts; tied weights once."""
    for ours, _ in model.named_parameters():
        side, _, rest = ours.partition(".")
        if side in ("encoder", "decoder"):
            number, _, within = rest.partition(".")
            module, _, kind = within.rpartition(".")
            layer = f"model.{side}.layers.{number}"
            yield ours, tuple(f"{layer}.{part}.{kind}" for part in MODULES[module])
        else:
            yield ours, (LM_HEAD if side == "lm_head" else SHARED,)


def _drop_repeated(tensors: dict[str, Tensor], config: TransformerConfig, folder: Path) -> None:
    """Remove tensors that our model does not need: copies, tables of positions, zero biases.

    Raises:
        UserError: one of them differs from what our model computes.
    """
    copies = [*EMBEDDINGS, *([LM_HEAD] if config.tied_embeddings else [])]
    for name in copies:
        value = tensors.pop(name, None)
        if value is not None and not (SHARED in tensors and same(value, tensors[SHARED])):
            raise UserError(f"{folder}: {name} differs from {SHARED}; our model has one embedding")
    for name in POSITIONS:
        value = tensors.pop(name, None)
        if value is not None:
            table = sinusoidal_positions(config.block_size, config.n_embd)
            expected = table[:, _sines_first(config.n_embd)]
            if value.shape != expected.shape or not value.float().allclose(expected, atol=1e-4):
                raise UserError(f"{folder}: {name} is not Marian's table of sinusoids")
    bias = tensors.pop(LOGITS_BIAS, None)
    if bias is not None and bias.any():
        raise UserError(
            f"{folder}: {LOGITS_BIAS} is not zero, and our output layer has no bias; Marian's own "
            "models have one"
        )


def _state(shapes: Transformer, tensors: Mapping[str, Tensor], folder: Path) -> dict[str, Tensor]:
    """Return a folder's weights under our names, in our order of channels."""
    rows = [(ours, theirs, shapes.get_parameter(ours)) for ours, theirs in names(shapes)]
    expected = {
        name: (len(value) // len(theirs), *value.shape[1:])
        for _, theirs, value in rows
        for name in theirs
    }
    known = [name for name in expected if name in tensors]
    refuse(
        folder,
        missing=[name for name in expected if name not in tensors],
        unknown=[name for name in tensors if name not in expected],
        wrong=[
            f"{name}: {tuple(tensors[name].shape)} found, {expected[name]} expected"
            for name in known
            if tuple(tensors[name].shape) != expected[name]
        ],
        not_floats=[name for name in known if tensors[name].dtype not in FLOATS],
    )
    inverse = _sines_first(shapes.config.n_embd).argsort()
    state = {}
    for ours, theirs, _ in rows:
        value = torch.cat([tensors[name].float() for name in theirs])
        dim = _channel_dim(ours)
        state[ours] = value if dim is None else value.index_select(dim, inverse)
    return state


def _channel_dim(name: str) -> int | None:
    """Return the dimension of our weight of this name that holds a residual stream's channels."""
    if "ln_" in name or "c_proj" in name:
        return 0
    return 1 if name.endswith("weight") else None


def _sines_first(n_embd: int) -> Tensor:
    """Return our channels in Marian's order: the even ones, of sines, and then the odd ones."""
    return torch.arange(n_embd).view(-1, 2).T.flatten()


def _check_vocabulary(config: TransformerConfig, tokenizer: Tokenizer) -> None:
    if tokenizer.vocab_size != config.vocab_size:
        raise UserError(
            f"the tokenizer has {tokenizer.vocab_size} ids and the model {config.vocab_size}; they "
            "do not belong together"
        )
