"""State dicts of The Annotated GPT-2 (A. Arora, 2020), and of GPT-2's first PyTorch releases.

Bare tensors by name, with OpenAI's weights in Conv1D's layout; the perceptron is called
`feedforward` where the releases have `mlp`, and the output layer `out`. There is no configuration
beside them: the shapes say all but the number of heads, which are 64 wide in every GPT-2.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.weights import vocabulary
from webtext_gpt.weights.format import is_conv1d, renamed
from webtext_gpt.weights.gpt2 import NAMES
from webtext_gpt.weights.tensors import same, take
from webtext_gpt.weights.tokenizer_files import given_tokenizer

HEAD_WIDTH = 64
DROPOUT = 0.1
ANNOTATED_NAMES = {
    **{ours: theirs.replace(".mlp.", ".feedforward.") for ours, theirs in NAMES.items()},
    "lm_head.weight": "out.weight",
}


def load(
    file: Path, contents: Mapping[str, Tensor], tokenizer: str | Path | None = None
) -> tuple[GPT, Tokenizer]:
    """The model, in evaluation mode on the CPU in fp32, and its tokenizer.

    Args:
        file: for messages.
        contents: its tensors by name, without buffers.
        tokenizer: see `given_tokenizer`; by default GPT-2's.

    Raises:
        UserError: these are not the tensors of a GPT-2.
    """
    tensors = dict(contents)
    annotated = any(".feedforward." in name for name in tensors)
    names = ANNOTATED_NAMES if annotated else NAMES
    head, rows = tensors.get(names["lm_head.weight"]), tensors.get(names["wte.weight"])
    if head is not None and rows is not None and same(head, rows):
        del tensors[names["lm_head.weight"]]
    with torch.device("meta"):
        model = GPT(_configuration(file, tensors))
    take(model, tensors, renamed(model, names, is_conv1d), file)
    model.lm_head.weight = model.wte.weight
    ours = given_tokenizer(tokenizer if tokenizer is not None else "openai-community/gpt2")
    vocabulary.check(model, ours)
    return model.eval(), ours


def _configuration(file: Path, tensors: Mapping[str, Tensor]) -> GPTConfig:
    embeddings = [tensors.get(name) for name in ("wte.weight", "wpe.weight")]
    blocks = {name.split(".")[1] for name in tensors if name.startswith("h.")}
    if any(e is None or e.dim() != 2 for e in embeddings) or not blocks:
        raise UserError(
            f"{file} holds neither a checkpoint of webtext-gpt or nanoGPT nor GPT-2's weights "
            "under OpenAI's names (wte.weight, wpe.weight, h.0.attn.c_attn.weight, ...)"
        )
    (vocab_size, n_embd), (block_size, _) = (e.shape for e in embeddings if e is not None)
    if n_embd % HEAD_WIDTH:
        raise UserError(
            f"{file}: wte.weight is {n_embd} wide, which no number of heads of {HEAD_WIDTH} gives"
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
