"""nanoGPT's `ckpt.pt`: weights in the layout of `nn.Linear`, and the shape in `model_args`.

The file has no tokenizer. nanoGPT keeps a character vocabulary in `meta.pkl`, a pickle, which we
do not read; see `given_tokenizer` for the alternatives.
"""

import dataclasses
from pathlib import Path

from torch import Tensor

from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.model.config import GPT2_VOCAB_SIZE
from webtext_gpt.model.empty import empty_gpt
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.weights import vocabulary
from webtext_gpt.weights.foreign import ForeignFormat, ForeignPath, Loaded
from webtext_gpt.weights.gpt2 import NAMES
from webtext_gpt.weights.names import LM_HEAD, PREFIX, renamed
from webtext_gpt.weights.tensors import drop_tied, named_tensors, refuse, take
from webtext_gpt.weights.tokenizer_files import given_tokenizer

FILE = "ckpt.pt"
COMPILED = "_orig_mod."
PADDED_VOCAB_SIZE = 50_304
"""GPT-2's vocabulary padded to a multiple of 64, nanoGPT's default."""


def recognizes(path: ForeignPath) -> bool:
    """Return whether a path is a folder with `ckpt.pt`, or a file with `model_args` in it."""
    if (path.local / FILE).is_file():
        return True
    return path.is_pickle and isinstance(path.contents, dict) and "model_args" in path.contents


def load(path: ForeignPath, tokenizer: str | Path | None = None) -> Loaded:
    """Load a model, in evaluation mode on the CPU in fp32.

    Rows that only pad the vocabulary are dropped. A vocabulary without `<|endoftext|>` gets a row
    for it (see `vocabulary.add_end_of_text`). Missing biases become zeros. The MLP computes the
    exact GELU, as nanoGPT's does since May 2023.

    Args:
        path: the file, or its folder.
        tokenizer: see `given_tokenizer`. Defaults to `tokenizer.json` in the same folder, or else
            to GPT-2's if the vocabulary has its size.

    Raises:
        UserError: the file is not a nanoGPT checkpoint, or the tokenizer does not fit the model.
    """
    if path.local.is_dir():
        path = ForeignPath(path.local / FILE)
    file = path.local
    contents = path.contents if isinstance(path.contents, dict) else {}
    config, biased = _configuration(file, contents.get("model_args"))
    tensors = _weights(file, contents.get("model"), config, biased)
    return filled(file, config, tensors, tokenizer, biased=biased)


def filled(
    file: Path,
    config: GPTConfig,
    tensors: dict[str, Tensor],
    tokenizer: str | Path | None,
    *,
    prefix: str = PREFIX,
    biased: bool = True,
) -> Loaded:
    """Return a model with the tensors of a file, and its tokenizer; see `load`.

    An output layer that differs from the token embedding is kept apart from it.

    Args:
        file: for messages, and the folder in which the tokenizer may be.
        config: the model's; its `tied_embeddings` follows the tensors.
        tensors: by nanoGPT's names, in the layout of `nn.Linear`.
        tokenizer: see `load`.
        prefix: prefix of all names except the head's.
        biased: whether biases must be there; if not, those that are missing are zero.
    """
    tied = drop_tied(tensors, LM_HEAD, prefix + NAMES["wte.weight"])
    model = empty_gpt(dataclasses.replace(config, tied_embeddings=tied), "meta")
    biases = [name for name, _ in model.named_parameters() if name.endswith("bias")]
    take(
        model,
        tensors,
        renamed(model, NAMES, transposed=lambda _: False, prefix=prefix),
        file,
        may_lack=[] if biased else biases,
    )
    if tied:
        model.lm_head.weight = model.wte.weight
    return model.eval(), _fitted_tokenizer(model, file, tokenizer)


FORMAT = ForeignFormat("nanoGPT", recognizes, load)


def _configuration(file: Path, arguments: object) -> tuple[GPTConfig, bool]:
    """Convert `model_args` to our configuration; also return whether the model has biases."""
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
        raise UserError(f"{file}: model_args is invalid: {error}") from error
    return config, bool(arguments.get("bias", True))


def _weights(file: Path, weights: object, config: GPTConfig, biased: bool) -> dict[str, Tensor]:
    """Return the tensors by name, without the prefix of `torch.compile`."""
    if not isinstance(weights, dict):
        raise UserError(f"{file}: `model` is not a dictionary")
    tensors = named_tensors({str(n).removeprefix(COMPILED): t for n, t in weights.items()}, file)
    if not biased:
        refuse(file, unknown=[name for name in tensors if name.endswith(".bias")])
    if config.n_layer > len(tensors):  # checked before the layers are allocated
        raise UserError(f"{file}: n_layer is {config.n_layer}, with {len(tensors)} tensors in all")
    return tensors


def _fitted_tokenizer(model: GPT, file: Path, given: str | Path | None) -> Tokenizer:
    """Return the tokenizer, after giving the model exactly one row for each of its ids."""
    rows = model.config.vocab_size
    tokenizer = _tokenizer(file, rows, given)
    if Path(given or "").suffix == ".txt" and tokenizer.vocab_size != rows + 1:
        raise UserError(
            f"{given} has {tokenizer.vocab_size - 1} different characters and the model {rows}; "
            "give the text that the model was trained on"
        )
    if tokenizer.vocab_size == rows + 1:
        vocabulary.add_end_of_text(model, tokenizer)
    else:
        vocabulary.cut_padding(model, tokenizer)
    return tokenizer


def _tokenizer(file: Path, vocab_size: int, given: str | Path | None) -> Tokenizer:
    saved = file.parent / "tokenizer.json"
    if given is None and saved.is_file():
        given = saved
    if given is None and vocab_size not in (GPT2_VOCAB_SIZE, PADDED_VOCAB_SIZE):
        raise UserError(
            f"{file} does not name its tokenizer, and {vocab_size} ids are not GPT-2's; give it: "
            "python -m webtext_gpt.weights checkpoint=... out=... tokenizer=... (a tokenizer.json, "
            "or for a character model the text it was trained on, input.txt)"
        )
    return given_tokenizer(given if given is not None else "openai-community/gpt2")
