"""State dicts of The Annotated GPT-2 (A. Arora, 2020), and of GPT-2's first PyTorch releases.

The file holds tensors by name, with OpenAI's weights in the layout of Conv1D. The Annotated GPT-2
calls the MLP `feedforward` where the releases have `mlp`, and the output layer `out`. There is no
configuration: the shapes give everything except the number of heads, and a head is 64 wide in all
sizes of GPT-2.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from webtext_gpt.errors import UserError
from webtext_gpt.model import GPTConfig
from webtext_gpt.model.empty import empty_gpt
from webtext_gpt.weights import vocabulary
from webtext_gpt.weights.foreign import ForeignFormat, ForeignPath, Loaded
from webtext_gpt.weights.gpt2 import NAMES
from webtext_gpt.weights.names import PREFIX, is_conv1d, renamed
from webtext_gpt.weights.tensors import drop_tied, named_tensors, take
from webtext_gpt.weights.tokenizer_files import given_tokenizer

HEAD_WIDTH = 64
DROPOUT = 0.1
ANNOTATED_NAMES = {
    **{ours: theirs.replace(".mlp.", ".feedforward.") for ours, theirs in NAMES.items()},
    "lm_head.weight": "out.weight",
}


def load(path: ForeignPath, tokenizer: str | Path | None = None) -> Loaded:
    """Load a model, in evaluation mode on the CPU in fp32.

    Args:
        path: the file.
        tokenizer: see `given_tokenizer`. Defaults to GPT-2's.

    Raises:
        UserError: these are not the tensors of a GPT-2.
    """
    file = path.local
    if isinstance(path.contents, dict) and "model_config" in path.contents:
        raise UserError(f"{file} is a checkpoint of webtext-gpt; let its name end in .ckpt")
    tensors = named_tensors(path.contents, file)
    tensors = {name.removeprefix(PREFIX): value for name, value in tensors.items()}
    annotated = any(".feedforward." in name for name in tensors)
    names = ANNOTATED_NAMES if annotated else NAMES
    tied = drop_tied(tensors, names["lm_head.weight"], names["wte.weight"])
    config = dataclasses.replace(_configuration(file, tensors), tied_embeddings=tied)
    model = empty_gpt(config, "meta")
    take(model, tensors, renamed(model, names, is_conv1d), file)
    if tied:
        model.lm_head.weight = model.wte.weight
    ours = given_tokenizer(tokenizer if tokenizer is not None else "openai-community/gpt2")
    vocabulary.check(model, ours)
    return model.eval(), ours


FORMAT = ForeignFormat("GPT-2's first releases", lambda path: path.is_pickle, load)


def _configuration(file: Path, tensors: Mapping[str, Tensor]) -> GPTConfig:
    embeddings = [tensors.get(name) for name in ("wte.weight", "wpe.weight")]
    blocks = {name.split(".")[1] for name in tensors if name.startswith("h.")}
    if any(e is None or e.dim() != 2 for e in embeddings) or not blocks:
        raise UserError(
            f"{file} holds neither a checkpoint of webtext-gpt or nanoGPT nor the weights of GPT-2 "
            "or minGPT (wte.weight, wpe.weight, h.0.attn.c_attn.weight, ...)"
        )
    (vocab_size, n_embd), (block_size, _) = (e.shape for e in embeddings if e is not None)
    if n_embd % HEAD_WIDTH:
        raise UserError(
            f"{file}: wte.weight is {n_embd} wide, which is not a multiple of {HEAD_WIDTH}, the "
            "width of a head"
        )
    return GPTConfig(
        n_layer=len(blocks),
        n_head=n_embd // HEAD_WIDTH,
        n_embd=n_embd,
        block_size=block_size,
        vocab_size=vocab_size,
        embd_dropout=DROPOUT,
        attn_dropout=DROPOUT,
        resid_dropout=DROPOUT,
    )
