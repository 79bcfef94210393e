"""GGUF, the model file of llama.cpp: its `gpt2` architecture, with the tokenizer in the file.

Weights are written in fp32, in our layout; `llama-quantize` makes smaller files of them. Keys and
tensor names are those that llama.cpp's own converter gives `GPT2LMHeadModel`.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import pre_tokenizers

from webtext_gpt.errors import UserError
from webtext_gpt.files import replaced
from webtext_gpt.model import GPT, GPTClassifier, GPTConfig
from webtext_gpt.model.config import LATER_OPTIONS
from webtext_gpt.tokenizer import GPT2_PATTERN, Tokenizer
from webtext_gpt.weights import vocabulary
from webtext_gpt.weights.biases import with_biases
from webtext_gpt.weights.config_json import LAYER_NORM_EPSILON
from webtext_gpt.weights.names import BLOCK, renamed

NAMES = {
    "wte.weight": "token_embd.weight",
    "wpe.weight": "position_embd.weight",
    BLOCK + "ln_1.weight": "blk.{}.attn_norm.weight",
    BLOCK + "ln_1.bias": "blk.{}.attn_norm.bias",
    BLOCK + "attn.c_attn.weight": "blk.{}.attn_qkv.weight",
    BLOCK + "attn.c_attn.bias": "blk.{}.attn_qkv.bias",
    BLOCK + "attn.c_proj.weight": "blk.{}.attn_output.weight",
    BLOCK + "attn.c_proj.bias": "blk.{}.attn_output.bias",
    BLOCK + "ln_2.weight": "blk.{}.ffn_norm.weight",
    BLOCK + "ln_2.bias": "blk.{}.ffn_norm.bias",
    BLOCK + "mlp.c_fc.weight": "blk.{}.ffn_up.weight",
    BLOCK + "mlp.c_fc.bias": "blk.{}.ffn_up.bias",
    BLOCK + "mlp.c_proj.weight": "blk.{}.ffn_down.weight",
    BLOCK + "mlp.c_proj.bias": "blk.{}.ffn_down.bias",
    "ln_f.weight": "output_norm.weight",
    "ln_f.bias": "output_norm.bias",
    "lm_head.weight": "output.weight",  # absent if tied: llama.cpp then uses token_embd
}

REFUSED = "this tokenizer cannot be exported to GGUF"

SUPPORTED = {
    "norm": "pre",
    "positions": "learned",
    "scale_embeddings": False,
    "activation": "gelu_tanh",
    **{option: getattr(GPTConfig(), option) for option in LATER_OPTIONS},
}
"""Options of `GPTConfig` for which llama.cpp's `gpt2` supports a single value."""

MODEL_OPTIONS = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges")
"""Options of a BPE that llama.cpp does not have; GPT-2's leaves them unset."""

PRE_TOKENIZERS = (
    {  # ours
        "type": "Sequence",
        "pretokenizers": [
            {
                "type": "Split",
                "pattern": {"Regex": GPT2_PATTERN},
                "behavior": "Isolated",
                "invert": False,
            },
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
        ],
    },
    {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},  # Hugging Face's
)
"""Forms of GPT-2's pre-tokenization in `tokenizer.json`, without `trim_offsets`."""


def save(model: GPT | GPTClassifier, tokenizer: Tokenizer, path: Path, force: bool = False) -> None:
    """Write a `.gguf` file. It appears only once it is complete, and replaces an existing file.

    Args:
        model: a language model; missing biases are written as zeros.
        tokenizer: the model's. Rows without a token become unused tokens, `[PAD50257]`.
        path: destination.
        force: not needed, since nothing else is written.

    Raises:
        UserError: llama.cpp's `gpt2` cannot express the model or its tokenizer.
        ModuleNotFoundError: the package gguf is not installed.
        OSError: the file cannot be written.
    """
    import gguf

    if isinstance(model, GPTClassifier):
        raise UserError(
            "a classifier cannot be exported to GGUF: llama.cpp's gpt2 has no such head"
        )
    model = with_biases(model)
    config = model.config
    for option, value in SUPPORTED.items():
        if (found := getattr(config, option)) != value:
            raise UserError(
                f"model.{option}={_shown(found)} cannot be exported to GGUF: llama.cpp's gpt2 "
                f"supports only {_shown(value)}"
            )
    vocabulary.check(model, tokenizer)
    tokens, types, merges = _vocabulary(tokenizer, config.vocab_size)

    with replaced(path, durable=True) as partial:
        writer = gguf.GGUFWriter(partial, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.GPT2])
        writer.add_name(path.stem)
        writer.add_file_type(gguf.LlamaFileType.ALL_F32)
        writer.add_block_count(config.n_layer)
        writer.add_context_length(config.block_size)
        writer.add_embedding_length(config.n_embd)
        writer.add_feed_forward_length(4 * config.n_embd)
        writer.add_head_count(config.n_head)
        writer.add_layer_norm_eps(LAYER_NORM_EPSILON)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_list(tokens)
        writer.add_token_types(types)
        writer.add_token_merges(merges)
        writer.add_bos_token_id(tokenizer.end_of_text)
        writer.add_eos_token_id(tokenizer.end_of_text)
        writer.add_add_bos_token(False)  # texts are encoded as given
        parameters = dict(model.named_parameters())
        for ours, theirs, _ in renamed(model, NAMES, lambda _: False):
            writer.add_tensor(theirs, parameters[ours].detach().numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def _vocabulary(tokenizer: Tokenizer, size: int) -> tuple[list[str], list[int], list[str]]:
    """Return the tokens of ids 0 to `size` - 1, their types, and the merges in order of rank.

    Raises:
        UserError: llama.cpp would give other ids than this tokenizer.
    """
    import gguf

    contents = json.loads(tokenizer.to_json())
    if (problem := next(gpt2_differences(contents), None)) is not None:
        raise UserError(f"{REFUSED}: {problem}; llama.cpp's gpt-2 is GPT-2's byte-level BPE")
    tokens = [f"[PAD{number}]" for number in range(size)]
    types = [int(gguf.TokenType.UNUSED)] * size
    for token, number in contents["model"]["vocab"].items():
        tokens[number], types[number] = token, gguf.TokenType.NORMAL
    for token in contents["added_tokens"]:
        # A text is never encoded to a control token, unless the caller asks llama.cpp for it.
        kind = gguf.TokenType.CONTROL if token["special"] else gguf.TokenType.USER_DEFINED
        tokens[token["id"]], types[token["id"]] = token["content"], kind
    if twice := next((token for token, count in Counter(tokens).items() if count > 1), None):
        raise UserError(f"{REFUSED}: it has a token {twice}, as llama.cpp calls a row without one")
    merges = [m if isinstance(m, str) else " ".join(m) for m in contents["model"]["merges"]]
    return tokens, types, merges


def gpt2_differences(contents: dict[str, Any]) -> Iterator[str]:
    """Yield the differences of a `tokenizer.json`'s contents from GPT-2's algorithm."""
    model = contents["model"]
    if model["type"] != "BPE":
        yield f"its model is {model['type']}"
        return
    if contents["normalizer"] is not None:
        yield "it normalizes texts"
    if _without_offsets(contents["pre_tokenizer"]) not in PRE_TOKENIZERS:
        yield "it splits texts into other pieces"
    for option in MODEL_OPTIONS:
        if model.get(option):
            yield f"it has {option}={_shown(model[option])}"
    if missing := set(pre_tokenizers.ByteLevel.alphabet()) - model["vocab"].keys():
        yield f"it lacks {len(missing)} of the 256 bytes"
    for token in contents["added_tokens"]:
        if not token["special"] and (token["lstrip"] or token["rstrip"] or token["single_word"]):
            yield f"its added token {token['content']!r} depends on the text around it"


def _without_offsets(splits: Any) -> Any:
    """Return a pre-tokenizer without `trim_offsets`, which does not change ids."""
    if isinstance(splits, dict):
        return {k: _without_offsets(v) for k, v in splits.items() if k != "trim_offsets"}
    return [_without_offsets(v) for v in splits] if isinstance(splits, list) else splits


def _shown(value: object) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
