"""Loading a model: one function for our checkpoints and for other programs' formats.

A checkpoint of ours is opened once, every byte checked. The model is made without drawing weights
(`webtext_gpt.model.empty`), then filled by a copy of the file's: a model that stays mapped would
change with a file that is overwritten in place, and fail when a network file system removes it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webtext_gpt.checkpoint.description import MODEL, empty_model
from webtext_gpt.checkpoint.store import Checkpoint, open_undamaged
from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, GPTClassifier
from webtext_gpt.model.lora import merge_lora
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.weights import find_format
from webtext_gpt.weights.foreign import ForeignPath


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode on the CPU in fp32, with what was saved beside it."""

    model: GPT | GPTClassifier
    tokenizer: Tokenizer
    task: dict[str, Any] | None = None
    """Plain values of the fine-tuning task that our classifier was trained on, if recorded."""
    is_foreign: bool = False
    """Whether another program wrote the model; its vocabulary may be padded then."""


def load(path: str | Path, tokenizer: str | Path | None = None) -> LoadedModel:
    """Load a language model or classifier from a checkpoint or a foreign format.

    The global random generator is not used.

    Args:
        path: a run folder (its best checkpoint, else its last, else its newest; a damaged one is
            reported on standard error and the next one used); a checkpoint, either a `.ckpt` file
            or a folder that ZeRO wrote; or a foreign model, see `webtext_gpt.weights`.
        tokenizer: for a foreign model without one, see `weights.tokenizer_files.given_tokenizer`.

    Raises:
        UserError: there is no checkpoint, it is damaged, or it is in none of these formats.
    """
    foreign = ForeignPath(path)
    if (format_ := find_format(foreign)) is not None:
        return LoadedModel(*format_.load(foreign, tokenizer), is_foreign=True)
    if tokenizer is not None:
        raise UserError(f"{path} carries its tokenizer; leave tokenizer out")
    return _filled(open_undamaged(path))


def load_language_model(
    path: str | Path, tokenizer: str | Path | None = None
) -> tuple[GPT, Tokenizer]:
    """Load a language model and its tokenizer. Arguments as `load`.

    Raises:
        UserError: as `load`, or the model is a classifier.
    """
    loaded = load(path, tokenizer)
    if isinstance(loaded.model, GPTClassifier):
        raise UserError(f"{path} holds a classifier, not a language model")
    return loaded.model, loaded.tokenizer


def _filled(checkpoint: Checkpoint) -> LoadedModel:
    contents = checkpoint.whole(with_optimizer=False)
    try:
        model, tokenizer = empty_model(contents)
        weights = contents["state_dict"]
        model.load_state_dict({name.removeprefix(MODEL): w for name, w in weights.items()})
        if contents.get("lora"):
            merge_lora(model)
            model.requires_grad_(True)
    except (KeyError, TypeError, RuntimeError) as error:
        raise UserError(f"{checkpoint.path} is not a checkpoint of webtext-gpt: {error}") from error
    return LoadedModel(model.eval(), tokenizer, contents.get("task"))
