"""A run that starts from trained weights: its model, shape and tokenizer are the checkpoint's."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webtext_gpt.checkpoint.load import load, only_gpt
from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, GPTClassifier, GPTConfig
from webtext_gpt.model.empty import empty_gpt
from webtext_gpt.paths import local_path
from webtext_gpt.settings import saved
from webtext_gpt.settings.train import Train
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.weights import vocabulary

DROPOUTS = ("embd_dropout", "attn_dropout", "resid_dropout")


@dataclass(frozen=True)
class Start:
    """State that a run takes from the checkpoint that it starts from."""

    config: GPTConfig
    tokenizer: Tokenizer
    model: GPT | None
    """The model, in training mode; None for a resumed run, whose weights are loaded later."""


def open_start(settings: Train, state: Mapping[str, Any] | None = None) -> Start | None:
    """Return what `checkpoint=` gives a run; None if the run starts from new weights.

    A resumed run takes its shape and tokenizer from its own checkpoint, so that the one it started
    from may be gone.

    Args:
        settings: the settings of the run.
        state: plain values of the checkpoint that the run resumes from, if it does.

    Raises:
        UserError: see `load_start`.
    """
    if settings.checkpoint is None:
        return None
    given = settings.model.model_dump(include=settings.model.model_fields_set - {"target"})
    changes = {name: value for name, value in given.items() if value is not None}
    if state is not None:
        config = GPTConfig(**{**state["model_config"], **changes})
        return Start(config, Tokenizer.from_json(state["tokenizer"]), None)
    model, tokenizer = load_start(settings.checkpoint, changes)
    return Start(model.config, tokenizer, model)


def load_start(checkpoint: str, changes: Mapping[str, Any]) -> tuple[GPT, Tokenizer]:
    """Load the language model to train further, in training mode, and its tokenizer.

    Rows that pad the vocabulary stay, because without them the model's losses would change.

    Args:
        checkpoint: see `webtext_gpt.checkpoint.load.load`.
        changes: options of `GPTConfig`, by name. Dropouts may differ from the checkpoint's, and
            `block_size` may be smaller: the positions beyond it are cut off.

    Raises:
        UserError: the checkpoint cannot be read, is no language model, or its tokenizer does not
            fit it; or another option differs.
    """
    loaded = load(checkpoint, keep_padding=True)  # without its rows, losses would change
    model = only_gpt(loaded, f"checkpoint={checkpoint}")
    if isinstance(model, GPTClassifier):
        raise UserError(
            f"checkpoint={checkpoint} is a classifier, and pretraining needs a language model; "
            "give the model that it was fine-tuned from, or train it further with finetune.py"
        )
    try:
        if loaded.is_foreign:
            vocabulary.check_padding(model, loaded.tokenizer)
        vocabulary.check(model, loaded.tokenizer)
    except UserError as error:
        raise UserError(f"checkpoint={checkpoint}: {error}") from error
    _refuse_other_shape(model.config, changes, checkpoint)
    config = dataclasses.replace(model.config, **changes)
    if config != model.config:
        model = _adapted(model, config)
    return model.train(), loaded.tokenizer


def _refuse_other_shape(config: GPTConfig, changes: Mapping[str, Any], checkpoint: str) -> None:
    """Refuse options that contradict a checkpoint's; the message names all of them.

    Raises:
        UserError: an option differs that has to be the checkpoint's.
    """
    lines = []
    for name, value in changes.items():
        own = getattr(config, name)
        if value == own or name in DROPOUTS or (name == "block_size" and value < own):
            continue
        lines.append(
            f"model.{name}={value}: checkpoint={checkpoint} has {own}"
            + (", and no weights for positions beyond it" if name == "block_size" else "")
        )
    if lines:
        raise UserError(
            "\n".join(lines) + "\nthe shape of the model is the checkpoint's; leave these out "
            "(model.block_size may be smaller, and dropout may be set)"
        )


def _adapted(model: GPT, config: GPTConfig) -> GPT:
    """Return a model with the same weights, without the positions beyond `config.block_size`."""
    weights = model.state_dict()
    if config.positions == "learned":
        weights["wpe.weight"] = weights["wpe.weight"][: config.block_size]
    adapted = empty_gpt(config)
    adapted.load_state_dict(weights)
    return adapted


def refuse_other_start(checkpoint: str | None, run_dir: Path) -> None:
    """Refuse to resume a run that started from another checkpoint than the one given.

    Args:
        checkpoint: `checkpoint=` of this call.
        run_dir: folder of the run to resume.

    Raises:
        UserError: names both.
    """
    recorded = saved.load(run_dir).get("checkpoint")
    if recorded == checkpoint:
        return
    if recorded is not None and checkpoint is not None:
        given = local_path(checkpoint)
        if Path(recorded) in (given, Path.cwd() / given):
            return
    began = "new weights" if recorded is None else f"checkpoint={recorded}"
    asked = "none" if checkpoint is None else f"checkpoint={checkpoint}"
    raise UserError(
        f"the run in {run_dir} started from {began}, and this call gives {asked}; resume it with "
        f"resume={run_dir} and without checkpoint=, or start a new run in another run_dir"
    )
