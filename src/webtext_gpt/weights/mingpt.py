"""Bare state dicts in the layout of `nn.Linear`: minGPT's, and those of nanoGPT's model.

`torch.save(model.state_dict(), FILE)` keeps the shapes but not the number of heads. It is read from
`config.json` in the same folder: minGPT's own, which its scripts write there, or one that the user
writes, `{"n_head": 6}`.

minGPT's first version (2020) has other names, and separate matrices for key, query and value. It
computes the exact GELU, as nanoGPT does; minGPT since 2022 computes OpenAI's approximation. The
file does not say which. It is guessed from the causal masks: minGPT always stores them, nanoGPT
does not since it uses fused attention. `"activation_function"` in `config.json` (`gelu` or
`gelu_new`) overrides the guess.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from webtext_gpt.errors import UserError
from webtext_gpt.model import GPTConfig
from webtext_gpt.weights.folder import CONFIG, WEIGHT_FILES, read_config
from webtext_gpt.weights.foreign import ForeignFormat, ForeignPath, Loaded
from webtext_gpt.weights.gpt2 import GPT2
from webtext_gpt.weights.names import PREFIX
from webtext_gpt.weights.nanogpt import COMPILED, filled
from webtext_gpt.weights.tensors import named_tensors, refuse

FILE = "model.pt"
"""Name of the file that minGPT's scripts write."""

N_HEAD = {
    "openai-gpt": 12,
    "gpt2": 12,
    "gpt2-medium": 16,
    "gpt2-large": 20,
    "gpt2-xl": 25,
    "gopher-44m": 16,
    "gpt-mini": 6,
    "gpt-micro": 4,
    "gpt-nano": 3,
}
"""Heads of minGPT's model types; the `config.json` of its scripts may give the type alone."""

DROPOUT = 0.1
WRAPPED = re.compile(rf"^(module\.|{re.escape(COMPILED)})+")
"""Prefixes that `DataParallel` and `torch.compile` add to every name."""

FIRST_NAMES = {
    r"tok_emb\.weight": "wte.weight",
    r"pos_emb": "wpe.weight",
    r"blocks\.(\d+)\.ln(\d)\.": r"h.\1.ln_\2.",
    r"blocks\.(\d+)\.attn\.proj\.": r"h.\1.attn.c_proj.",
    r"blocks\.(\d+)\.mlp\.0\.": r"h.\1.mlp.c_fc.",
    r"blocks\.(\d+)\.mlp\.2\.": r"h.\1.mlp.c_proj.",
    r"head\.weight": "lm_head.weight",
}
"""Names of minGPT's first version, as patterns at the beginning of a name, and the later ones."""
PARTS = ("query", "key", "value")
"""Matrices of the first version that the later ones keep in `c_attn`, in this order."""


def recognizes(path: ForeignPath) -> bool:
    """Return whether a path is such a file, or minGPT's folder with `model.pt`."""
    if path.local.is_dir():
        has_weights = any((path.local / name).is_file() for name in WEIGHT_FILES)
        return (path.local / FILE).is_file() and not has_weights
    if not path.is_pickle or not isinstance(path.contents, dict):
        return False
    shapes = {
        WRAPPED.sub("", str(name)).removeprefix(PREFIX): tuple(value.shape)
        for name, value in path.contents.items()
        if isinstance(value, Tensor)
    }
    rows, columns = (*shapes.get("h.0.attn.c_attn.weight", ()), 0, 0)[:2]
    return "blocks.0.attn.query.weight" in shapes or rows == 3 * columns > 0


def load(path: ForeignPath, tokenizer: str | Path | None = None) -> Loaded:
    """Load a model, in evaluation mode on the CPU in fp32.

    The vocabulary is fitted to the tokenizer as nanoGPT's is. An output layer that differs from
    the token embedding, as minGPT trains it, is kept.

    Args:
        path: the file, or its folder.
        tokenizer: see `nanogpt.load`.

    Raises:
        UserError: these are not the tensors of a GPT, the number of heads is not given, or the
            tokenizer does not fit the model.
    """
    if path.local.is_dir():
        path = ForeignPath(path.local / FILE)
        if not recognizes(path):
            raise UserError(f"{path.local} does not hold the weights of minGPT")
    file = path.local
    contents = {WRAPPED.sub("", str(name)): value for name, value in path.contents.items()}
    is_first = "blocks.0.attn.query.weight" in contents
    has_masks = any(re.search(r"h\.\d+\.attn\.bias$", name) for name in contents)
    tensors = named_tensors(contents, file)
    if is_first:
        tensors = _later_names(tensors)
    prefix = PREFIX if any(name.startswith(PREFIX) for name in tensors) else ""
    fields = read_config(file.parent) if (file.parent / CONFIG).is_file() else {}
    if isinstance(fields.get("model"), dict):
        fields = fields["model"]
    is_mingpt = is_first or has_masks
    config = _configuration(
        file,
        tensors,
        prefix,
        {
            "activation_function": "gelu_new" if has_masks and not is_first else "gelu",
            **dict.fromkeys(
                ("embd_pdrop", "attn_pdrop", "resid_pdrop"), DROPOUT if is_mingpt else 0.0
            ),
            **fields,
        },
    )
    return filled(file, config, tensors, tokenizer, prefix=prefix, biased=is_mingpt)


FORMAT = ForeignFormat("minGPT", recognizes, load)


def _later_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of minGPT's first version by the names of the later ones."""
    later: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if re.fullmatch(r"blocks\.\d+\.attn\.mask", name):
            continue
        if match := re.fullmatch(r"blocks\.(\d+)\.attn\.query\.(\w+)", name):
            parts = [tensors.get(name.replace("query", part)) for part in PARTS]
            if all(part is not None for part in parts):
                found = [part for part in parts if part is not None]
                later[f"h.{match[1]}.attn.c_attn.{match[2]}"] = torch.cat(found)
                continue
        elif re.fullmatch(r"blocks\.\d+\.attn\.(key|value)\.\w+", name):
            continue
        new = name
        for pattern, replacement in FIRST_NAMES.items():
            new = re.sub(f"^{pattern}", replacement, new)
        later[new] = value[0] if new == "wpe.weight" and value.dim() == 3 else value
    return later


def _configuration(
    file: Path, tensors: Mapping[str, Tensor], prefix: str, fields: Mapping[str, Any]
) -> GPTConfig:
    """Return the configuration that the shapes and the fields of `config.json` give."""
    embeddings = {}
    for name in ("wte.weight", "wpe.weight"):
        value = tensors.get(prefix + name)
        if value is None or value.dim() != 2:
            refuse(file, missing=[f"{prefix}{name}, (rows, n_embd)"])
        embeddings[name] = value
    (vocab_size, n_embd), (block_size, _) = (e.shape for e in embeddings.values() if e is not None)
    blocks = {m[1] for name in tensors if (m := re.match(rf"{re.escape(prefix)}h\.(\d+)\.", name))}
    n_head = fields.get("n_head") or N_HEAD.get(str(fields.get("model_type")))
    if n_head is None:
        raise UserError(
            f"{file} does not say how many heads its model has; write it into "
            f'{file.parent / CONFIG}, as {{"n_head": 6}} (GPT-2 of this width has '
            f"{max(n_embd // 64, 1)})"
        )
    shape = {
        "n_layer": len(blocks),
        "n_head": n_head,
        "n_embd": n_embd,
        "n_positions": block_size,
        "vocab_size": vocab_size,
    }
    for name, found in shape.items():
        if (said := fields.get(name)) not in (None, found):
            raise UserError(f"{file.parent / CONFIG}: {name} is {said}, and in {file} {found}")
    try:
        return GPT2.read_config({**fields, **shape})
    except UserError as error:
        raise UserError(f"{file.parent / CONFIG}: {error}") from error
