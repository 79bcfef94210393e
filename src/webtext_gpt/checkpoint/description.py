"""The model in a checkpoint: its description in plain values, and an empty model made from it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from webtext_gpt.checkpoint.store import save_checkpoint
from webtext_gpt.model import GPT, ClassifierConfig, GPTClassifier, GPTConfig, language_model
from webtext_gpt.model.empty import Undrawn
from webtext_gpt.model.lora import add_lora
from webtext_gpt.tokenizer import Tokenizer

MODEL = "model."
"""Prefix of the model's weights in a checkpoint's `state_dict`."""


def describe(model: GPT | GPTClassifier, tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the plain values that a checkpoint stores beside the weights to be self-contained."""
    described: dict[str, Any] = {"tokenizer": tokenizer.to_json()}
    if isinstance(model, GPTClassifier):
        described["classifier_config"] = model.config.to_dict()
    return {"model_config": language_model(model).config.to_dict(), **described}


def empty_model(state: Mapping[str, Any]) -> tuple[GPT | GPTClassifier, Tokenizer]:
    """Return the model that a checkpoint's plain values describe, and its tokenizer.

    The weights are uninitialized and have to be loaded; buffers are right, tied weights are tied,
    and no random number is drawn.

    Args:
        state: what `describe` returns; with `lora`, the arguments of `add_lora`, the model has
            those layers.

    Raises:
        KeyError: a value is missing.
        TypeError: a configuration has an unknown key.
        UserError: a configuration or the tokenizer is invalid.
    """
    tokenizer = Tokenizer.from_json(state["tokenizer"])
    with Undrawn():
        model: GPT | GPTClassifier = GPT(GPTConfig(**state["model_config"]))
        if (head := state.get("classifier_config")) is not None:
            model = GPTClassifier(language_model(model), ClassifierConfig(**head))
        if lora := state.get("lora"):
            add_lora(model, **lora)
    return model, tokenizer


def save_model(model: GPT | GPTClassifier, tokenizer: Tokenizer, path: str | Path) -> None:
    """Write a checkpoint of a model that is not in training, for `load`.

    Raises:
        OSError: the file cannot be written; nothing is left behind.
    """
    weights = {f"{MODEL}{name}": value for name, value in model.state_dict().items()}
    save_checkpoint({"state_dict": weights, **describe(model, tokenizer)}, path)
