"""Models in checkpoints: describe, save and load them; `load` also reads other programs' formats.

Our checkpoints are read once, with every byte verified. The model is constructed without drawing
initial weights (`webtext_gpt.model.empty`), and the file's weights are copied into it. Keeping the
file mapped instead would let a later overwrite of the file change the model, and would crash if a
network file system removed the file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webtext_gpt.checkpoint.store import Checkpoint, open_undamaged, save_checkpoint
from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, ClassifierConfig, GPTClassifier, GPTConfig, language_model
from webtext_gpt.model.empty import SkipRandomInit
from webtext_gpt.model.lora import add_lora, merge_lora
from webtext_gpt.model.new_tokens import add_new_rows, merge_new_rows
from webtext_gpt.model.transformer import Transformer, TransformerConfig
from webtext_gpt.pair_tokenizer import PairTokenizer
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.weights import find_format, vocabulary
from webtext_gpt.weights.foreign import ForeignPath

AnyModel = GPT | GPTClassifier | Transformer
"""A language model, a classifier, or a translation model."""

MODEL = "model."
"""Prefix of the model's weights in a checkpoint's `state_dict`."""


def describe(model: AnyModel, tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the plain values that make a checkpoint self-contained, without the weights."""
    described: dict[str, Any] = {"tokenizer": tokenizer.to_json()}
    if isinstance(model, Transformer):
        if isinstance(tokenizer, PairTokenizer):
            described["source_tokenizer"] = tokenizer.source.to_json()
        return {"transformer_config": model.config.to_dict(), **described}
    if isinstance(model, GPTClassifier):
        described["classifier_config"] = model.config.to_dict()
    return {"model_config": language_model(model).config.to_dict(), **described}


def empty_model(state: Mapping[str, Any]) -> tuple[AnyModel, Tokenizer]:
    """Return the model that a checkpoint's plain values describe, and its tokenizer.

    The weights are uninitialized and have to be loaded. Buffers are set, tied weights are tied,
    and no random number is drawn.

    Args:
        state: the result of `describe`. If it also has `lora`, the arguments of `add_lora`, the
            model gets LoRA layers; if it has `new_tokens`, ids, their embeddings are separate.

    Raises:
        KeyError: a value is missing.
        TypeError: a configuration has an unknown key.
        UserError: a configuration or the tokenizer is invalid.
    """
    tokenizer = Tokenizer.from_json(state["tokenizer"])
    if (source := state.get("source_tokenizer")) is not None:
        tokenizer = PairTokenizer(Tokenizer.from_json(source), tokenizer)
    with SkipRandomInit():
        if (translator := state.get("transformer_config")) is not None:
            return Transformer(TransformerConfig(**translator)), tokenizer
        model: GPT | GPTClassifier = GPT(GPTConfig(**state["model_config"]))
        if (head := state.get("classifier_config")) is not None:
            model = GPTClassifier(language_model(model), ClassifierConfig(**head))
        if lora := state.get("lora"):
            add_lora(model, **lora)
        if ids := state.get("new_tokens"):
            add_new_rows(model, ids)
    return model, tokenizer


def save_model(
    model: AnyModel,
    tokenizer: Tokenizer,
    path: str | Path,
    task: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint of a model outside of training, for `load`.

    Args:
        model: the model.
        tokenizer: the model's.
        path: destination.
        task: plain values of the task that it was fine-tuned on.

    Raises:
        OSError: the file cannot be written; nothing is left behind.
    """
    weights = {f"{MODEL}{name}": value for name, value in model.state_dict().items()}
    fine_tuned = {} if task is None else {"task": dict(task)}
    save_checkpoint({"state_dict": weights, **describe(model, tokenizer), **fine_tuned}, path)


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode on the CPU in fp32, with its tokenizer and task."""

    model: AnyModel
    tokenizer: Tokenizer
    task: dict[str, Any] | None = None
    """Plain values of the task that our model was fine-tuned on, if recorded."""
    is_foreign: bool = False
    """Whether another program wrote the model. If so, its vocabulary may be padded."""

    @property
    def between(self) -> str | None:
        """Text that prompts end with, if the model was fine-tuned to complete them; else `None`."""
        task = self.task or {}
        is_completion = task.get("kind") in ("completion", "pairs")  # the kind's former name
        return task.get("between", "\n") if is_completion else None


def load(
    path: str | Path, tokenizer: str | Path | None = None, *, keep_padding: bool = False
) -> LoadedModel:
    """Load a language model, classifier or translation model, also from a foreign format.

    The global random generator is not used.

    Args:
        path: a run folder, a checkpoint (a `.ckpt` file, or a folder that ZeRO wrote), or a
            foreign model, see `webtext_gpt.weights`. From a run folder the best checkpoint is
            loaded, else the last, else the newest. A damaged one is reported on standard error,
            and the next one is used.
        tokenizer: for a foreign model without one, see `weights.tokenizer_files.given_tokenizer`.
        keep_padding: keep the rows of a Hugging Face model that only pad its vocabulary.

    Raises:
        UserError: there is no checkpoint, it is damaged, or it is in none of these formats.
    """
    foreign = ForeignPath(path)
    if (format_ := find_format(foreign)) is not None:
        model, ids = format_.load(foreign, tokenizer)
        if isinstance(model, GPT) and vocabulary.is_padded(model, ids) and not keep_padding:
            vocabulary.cut_padding(model, ids)
        return LoadedModel(model, ids, is_foreign=True)
    if tokenizer is not None:
        raise UserError(f"{path} carries its tokenizer; leave tokenizer out")
    return _filled(open_undamaged(path))


def load_language_model(
    path: str | Path, tokenizer: str | Path | None = None
) -> tuple[GPT, Tokenizer]:
    """Load a language model and its tokenizer. The arguments are those of `load`.

    Raises:
        UserError: as `load`, or the model is of another kind.
    """
    loaded = load(path, tokenizer)
    return only_language_model(loaded, path), loaded.tokenizer


def only_language_model(loaded: LoadedModel, path: str | Path) -> GPT:
    """Return the language model that was loaded from `path`.

    Raises:
        UserError: it is a classifier or a translation model.
    """
    if isinstance(loaded.model, GPT):
        return loaded.model
    raise UserError(f"{path} holds a {kind_of(loaded.model)}, not a language model")


def only_gpt(loaded: LoadedModel, path: str | Path) -> GPT | GPTClassifier:
    """Return the language model or the classifier that was loaded from `path`.

    Raises:
        UserError: it is a translation model.
    """
    if isinstance(loaded.model, Transformer):
        raise UserError(
            f"{path} holds a {kind_of(loaded.model)}, not a language model or a classifier"
        )
    return loaded.model


def only_translator(loaded: LoadedModel, path: str | Path) -> Transformer:
    """Return the translation model that was loaded from `path`.

    Raises:
        UserError: it is a language model or a classifier.
    """
    if isinstance(loaded.model, Transformer):
        return loaded.model
    raise UserError(f"{path} holds a {kind_of(loaded.model)}, not a translation model")


def kind_of(model: AnyModel) -> str:
    """Return a model's kind, as messages name it after "a"."""
    if isinstance(model, Transformer):
        return "translation model"
    return "classifier" if isinstance(model, GPTClassifier) else "language model"


def _filled(checkpoint: Checkpoint) -> LoadedModel:
    contents = checkpoint.contents(with_optimizer=False)
    try:
        model, tokenizer = empty_model(contents)
        weights = contents["state_dict"]
        model.load_state_dict({name.removeprefix(MODEL): w for name, w in weights.items()})
        if not isinstance(model, Transformer):
            _merge(model, contents)
        model.requires_grad_(True)
    except (KeyError, TypeError, RuntimeError) as error:
        raise UserError(f"{checkpoint.path} is not a checkpoint of webtext-gpt: {error}") from error
    return LoadedModel(model.eval(), tokenizer, contents.get("task"))


def _merge(model: GPT | GPTClassifier, contents: Mapping[str, Any]) -> None:
    """Merge LoRA's updates and the new tokens' embeddings into the model's own weights."""
    if contents.get("lora"):
        merge_lora(model)
    if contents.get("new_tokens"):
        merge_new_rows(model)
