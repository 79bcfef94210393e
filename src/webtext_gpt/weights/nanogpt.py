"""nanoGPT's `ckpt.pt`: weights as `nn.Linear` has them, `model_args` beside them.

The file names no tokenizer. nanoGPT keeps a character vocabulary in `meta.pkl`, a pickle, which is
not read; see `given_tokenizer` for what takes its place.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.model.config import GPT2_VOCAB_SIZE
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.weights import vocabulary
from webtext_gpt.weights.folder import named_tensors
from webtext_gpt.weights.format import PREFIX, renamed
from webtext_gpt.weights.gpt2 import NAMES
from webtext_gpt.weights.tensors import refuse, same, take
from webtext_gpt.weights.tokenizer_files import given_tokenizer

FILE = "ckpt.pt"
COMPILED = "_orig_mod."
PADDED_VOCAB_SIZE = 50_304
"""GPT-2's vocabulary filled up to a multiple of 64, nanoGPT's default."""


def load(
    file: Path, contents: Mapping[str, Any], tokenizer: str | Path | None = None
) -> tuple[GPT, Tokenizer]:
    """The model, in evaluation mode on the CPU in fp32, and its tokenizer.

    Rows that only pad the vocabulary are dropped; a vocabulary without `<|endoftext|>` gets a row
    for it (see `vocabulary.add_end_of_text`). Absent biases become zeros. The perceptron computes
    the exact GELU, as nanoGPT has since May 2023.

    Args:
        file: for messages, and to find a `tokenizer.json` beside it.
        contents: what is in the file.
        tokenizer: see `given_tokenizer`; by default `tokenizer.json` beside the file, or GPT-2's
            for a vocabulary of its size.

    Raises:
        UserError: the file is no checkpoint of nanoGPT, or the tokenizer is not the model's.
    """
    config, biased = _configuration(file, contents.get("model_args"))
    weights = contents.get("model")
    if not isinstance(weights, dict):
        raise UserError(f"{file}: `model` is not a dictionary")
    tensors = named_tensors({str(n).removeprefix(COMPILED): t for n, t in weights.items()}, file)
    if not biased:
        refuse(file, unknown=[name for name in tensors if name.endswith(".bias")])
    if config.n_layer > len(tensors):
        raise UserError(f"{file}: n_layer is {config.n_layer}, with {len(tensors)} tensors in all")
    head, rows = (tensors.get(name) for name in ("lm_head.weight", PREFIX + "wte.weight"))
    if head is not None and rows is not None and same(head, rows):
        del tensors["lm_head.weight"]
    with torch.device("meta"):
        model = GPT(config)
    take(
        model,
        tensors,
        renamed(model, NAMES, transposed=lambda _: False, prefix=PREFIX),
        file,
        may_lack=[] if biased else [n for n, _ in model.named_parameters() if n.endswith("bias")],
    )
    model.lm_head.weight = model.wte.weight
    ours = _tokenizer(file, config.vocab_size, tokenizer)
    if Path(tokenizer or "").suffix == ".txt" and ours.vocab_size != config.vocab_size + 1:
        raise UserError(
            f"{tokenizer} has {ours.vocab_size - 1} different characters and the model "
            f"{config.vocab_size}; give the text that the model was made of"
        )
    if ours.vocab_size == config.vocab_size + 1:
        vocabulary.add_end_of_text(model, ours)
    else:
        vocabulary.cut_padding(model, ours)
    return model.eval(), ours


def _configuration(file: Path, arguments: Any) -> tuple[GPTConfig, bool]:
    """Our configuration of `model_args`, and whether the model has biases."""
    if not isinstance(arguments, dict):
        raise UserError(f"{file}: `model_args` is not a dictionary")
    try:
        dropout = arguments.get("dropout", 0.0)
        config = GPTConfig(
            n_layer=arguments["n_layer"],
            n_head=arguments["n_head"],
            n_embd=arguments["n_embd"],
            block_size=arguments["block_size"],
            vocab_size=arguments.get("vocab_size", PADDED_VOCAB_SIZE),
            activation="gelu",
            embd_dropout=dropout,
            attn_dropout=dropout,
            resid_dropout=dropout,
        )
    except (KeyError, TypeError, UserError) as error:
        raise UserError(f"{file}: model_args makes no model: {error}") from error
    return config, bool(arguments.get("bias", True))


def _tokenizer(file: Path, vocab_size: int, given: str | Path | None) -> Tokenizer:
    beside = file.parent / "tokenizer.json"
    if given is None and beside.is_file():
        given = beside
    if given is None and vocab_size not in (GPT2_VOCAB_SIZE, PADDED_VOCAB_SIZE):
        raise UserError(
            f"{file} does not say its tokenizer, and {vocab_size} ids are not GPT-2's; give it: "
            "python -m webtext_gpt.weights checkpoint=... out=... tokenizer=... (a tokenizer.json, "
            "or for a character model the text it was made of, input.txt)"
        )
    return given_tokenizer(given if given is not None else "openai-community/gpt2")
