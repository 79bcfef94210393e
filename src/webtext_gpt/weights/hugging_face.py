"""Models in folders as Hugging Face's transformers write and read them, in and out.

A folder is `config.json`, weights as safetensors or `pytorch_model.bin`, in one file or in shards
with an index, and the tokenizer's files.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, ClassifierConfig, GPTClassifier, GPTConfig, language_model
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.weights import vocabulary
from webtext_gpt.weights.folder import (
    CONFIG,
    architecture,
    is_classifier,
    read_config,
    read_weights,
)
from webtext_gpt.weights.format import PREFIX, Format
from webtext_gpt.weights.gpt1 import EARLY_ENDINGS, GPT1
from webtext_gpt.weights.gpt2 import GPT2
from webtext_gpt.weights.tensors import refuse, same, take
from webtext_gpt.weights.tokenizer_files import (
    given_tokenizer,
    read_gpt1_tokenizer,
    read_tokenizer,
    tokenizer_files,
)
from webtext_gpt.weights.write import shards, to_json, write_folder

FORMATS = {format_.model_type: format_ for format_ in (GPT2, GPT1)}
LM_HEAD = "lm_head.weight"

MAX_SHARD_BYTES = 5 * 10**9


def load(folder: str | Path, tokenizer: str | Path | None = None) -> tuple[GPT, Tokenizer]:
    """The language model of a folder, in evaluation mode on the CPU in fp32, and its tokenizer.

    GPT-1 gets a row for `<|endoftext|>`, see `vocabulary.add_end_of_text`.

    Args:
        folder: with `config.json`.
        tokenizer: see `given_tokenizer`; by default the folder's own.

    Raises:
        UserError: a file is missing or damaged, the model is none that ours can express, or it is
            a classifier.
    """
    folder = Path(folder).expanduser()
    fields = read_config(folder)
    if is_classifier(fields):
        raise UserError(
            f"{folder} holds a classifier ({architecture(fields)}), not a language model"
        )
    format_, config = _configuration(folder, fields)
    tensors = _weights(folder, format_, config)
    with torch.device("meta"):
        model = GPT(config)
    _fill(model, tensors, format_, folder)
    return model.eval(), _tokenizer(model, folder, format_, tokenizer)


def load_classifier(
    folder: str | Path, tokenizer: str | Path | None = None
) -> tuple[GPTClassifier, Tokenizer]:
    """The classifier of a folder, as `load` reads a language model.

    Raises:
        UserError: as `load`, or it holds no classifier.
    """
    folder = Path(folder).expanduser()
    fields = read_config(folder)
    if not is_classifier(fields):
        raise UserError(f"{folder} holds {architecture(fields)}, not a classifier")
    format_, config = _configuration(folder, {**fields, "tie_word_embeddings": True})
    tensors = _weights(folder, format_, config)
    model = _empty_classifier(folder, config, fields, tensors)
    _fill(model, tensors, format_, folder)
    return model.eval(), _tokenizer(model.body, folder, format_, tokenizer)


def save(
    model: GPT | GPTClassifier,
    tokenizer: Tokenizer,
    folder: str | Path,
    force: bool = False,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Write a folder that `AutoTokenizer` and `AutoModelForCausalLM` load, or a classifier's class.

    Nothing is seen under the folder's name before all of it is written.

    Args:
        model: kept as it is; stored in fp32.
        tokenizer: the model's.
        folder: new or empty.
        force: replace files of the same names in a folder that is not empty.
        max_shard_bytes: of a file of weights; more are written, with an index, where need be.

    Raises:
        UserError: the folder is not empty, or Hugging Face's classes cannot express the model.
        OSError: a file cannot be written.
    """
    body = language_model(model)
    classifier = model.config if isinstance(model, GPTClassifier) else None
    format_ = GPT2 if body.config.norm == "pre" else GPT1
    if classifier is not None and not body.config.tied_embeddings:
        raise UserError(
            "model.tied_embeddings=false cannot be exported with a classification head: "
            f"{format_.classifier} has no output layer to keep the body's in"
        )
    if classifier is not None and classifier.both_orders:
        raise UserError(
            f"this classifier reads pairs both ways round, which {format_.classifier} cannot; "
            "fine-tune with task.symmetric=false for an export"
        )
    vocabulary.check(body, tokenizer)
    config = {
        "architectures": [format_.classifier if classifier else format_.language_model],
        **format_.write_config(body.config),
        "bos_token_id": tokenizer.end_of_text,
        "eos_token_id": tokenizer.end_of_text,
        **(_classifier_fields(classifier) if classifier else {}),
    }
    files = {CONFIG: to_json(config)}
    if classifier is None:
        ends = ("bos_token_id", "eos_token_id", "pad_token_id")
        files["generation_config.json"] = to_json(dict.fromkeys(ends, tokenizer.end_of_text))
    files.update(tokenizer_files(tokenizer, body.config.block_size, classifier))
    parameters = dict(model.named_parameters())
    weights = {}
    for ours, theirs, transposed in format_.renamed(model, PREFIX):
        value = parameters[ours].detach()
        weights[theirs] = value.T if transposed else value
    write_folder(Path(folder).expanduser(), files, shards(weights, max_shard_bytes), force)


def _configuration(folder: Path, fields: Mapping[str, Any]) -> tuple[Format, GPTConfig]:
    model_type = fields.get("model_type", "openai-gpt" if "afn" in fields else "gpt2")
    if not isinstance(model_type, str) or model_type not in FORMATS:
        raise UserError(
            f"{folder / CONFIG}: model_type is {model_type!r}; {' and '.join(FORMATS)} can be read"
        )
    try:
        return FORMATS[model_type], FORMATS[model_type].read_config(fields)
    except UserError as error:
        raise UserError(f"{folder / CONFIG}: {error}") from error


def _fill(
    model: GPT | GPTClassifier, tensors: dict[str, Tensor], format_: Format, folder: Path
) -> None:
    """Give a model on the meta device the folder's weights, and tie what is tied."""
    body = language_model(model)
    prefix = PREFIX if any(name.startswith(PREFIX) for name in tensors) else ""
    embedding = prefix + format_.names["wte.weight"]
    if body.config.tied_embeddings and embedding in tensors and LM_HEAD in tensors:
        if not same(tensors[LM_HEAD], tensors[embedding]):
            raise UserError(
                f"{folder}: {LM_HEAD} differs from {embedding}, and {CONFIG} says that they are "
                "one; set tie_word_embeddings to false there to read both"
            )
        del tensors[LM_HEAD]
    take(model, tensors, format_.renamed(model, prefix), folder)
    if body.config.tied_embeddings:
        body.lm_head.weight = body.wte.weight


def _empty_classifier(
    folder: Path, body: GPTConfig, fields: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> GPTClassifier:
    """On the meta device, with the labels of `config.json`, or else one a row of `score`."""
    if "score.weight" not in tensors or tensors["score.weight"].dim() != 2:
        refuse(folder, missing=["score.weight, (labels, n_embd)"])
    id2label = fields.get("id2label") or {
        str(i): f"LABEL_{i}" for i in range(len(tensors["score.weight"]))
    }
    try:
        labels = tuple(str(id2label[str(i)]) for i in range(len(id2label)))
        pad = fields.get("pad_token_id")
        config = ClassifierConfig(
            labels=labels,
            pad_token_id=fields["eos_token_id"] if pad is None else pad,
            start_token_id=fields.get("start_token_id"),
            delimiter_token_id=fields.get("delimiter_token_id"),
            extract_token_id=fields.get("extract_token_id"),
            dropout=fields.get("classifier_dropout", 0.0),
        )
        with torch.device("meta"):
            return GPTClassifier(GPT(body), config)
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{folder / CONFIG}: id2label must number the labels from 0, and pad_token_id or "
            f"eos_token_id must be an id ({type(error).__name__}: {error})"
        ) from error
    except UserError as error:
        raise UserError(f"{folder / CONFIG}: {error}") from error


def _classifier_fields(config: ClassifierConfig) -> dict[str, Any]:
    return {
        "pad_token_id": config.pad_token_id,
        "id2label": {str(i): label for i, label in enumerate(config.labels)},
        "label2id": {label: i for i, label in enumerate(config.labels)},
        "start_token_id": config.start_token_id,
        "delimiter_token_id": config.delimiter_token_id,
        "extract_token_id": config.extract_token_id,
        "classifier_dropout": config.dropout,
    }


def _weights(folder: Path, format_: Format, config: GPTConfig) -> dict[str, Tensor]:
    """The folder's tensors by the names of today, if there are enough for so many layers."""
    tensors = read_weights(folder)
    if config.n_layer > len(tensors):  # before a model of so many layers is made
        raise UserError(
            f"{folder / CONFIG}: n_layer is {config.n_layer}, and there are {len(tensors)} "
            "tensors in all"
        )
    if format_ is not GPT1:
        return tensors
    endings = re.compile("({})$".format("|".join(map(re.escape, EARLY_ENDINGS))))
    return {endings.sub(lambda m: EARLY_ENDINGS[m[1]], n): t for n, t in tensors.items()}


def _tokenizer(model: GPT, folder: Path, format_: Format, given: str | Path | None) -> Tokenizer:
    """The tokenizer that is given or the folder's; the model has a row for each of its ids then."""
    if given is not None:
        tokenizer = given_tokenizer(given)
    else:
        tokenizer = (read_gpt1_tokenizer if format_ is GPT1 else read_tokenizer)(folder)
    if format_ is GPT1 and tokenizer.vocab_size == model.config.vocab_size + 1:
        vocabulary.add_end_of_text(model, tokenizer)
    vocabulary.check(model, tokenizer)
    return tokenizer
