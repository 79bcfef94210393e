"""Models in the folders of Hugging Face's transformers, or on its hub; read and written.

A folder holds `config.json`, weights as safetensors or `pytorch_model.bin` in one file or in shards
with an index, and the files of the tokenizer.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from webtext_gpt.errors import UserError
from webtext_gpt.hub import hub_access, hub_problem
from webtext_gpt.model import GPT, GPTClassifier, GPTConfig, language_model
from webtext_gpt.model.empty import SkipRandomInit, empty_gpt
from webtext_gpt.model.transformer import Transformer
from webtext_gpt.paths import local_path
from webtext_gpt.signatures import why_unreadable
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.weights import marian, vocabulary
from webtext_gpt.weights.biases import with_biases
from webtext_gpt.weights.config_json import (
    ModelType,
    read_classifier_config,
    write_classifier_config,
)
from webtext_gpt.weights.folder import (
    CONFIG,
    architecture,
    read_config,
    read_weights,
    shards,
    to_json,
    write_folder,
)
from webtext_gpt.weights.foreign import ForeignFormat, ForeignPath, Loaded
from webtext_gpt.weights.gpt1 import EARLY_ENDINGS, GPT1
from webtext_gpt.weights.gpt2 import GPT2
from webtext_gpt.weights.marian_config import MODEL_TYPE as MARIAN
from webtext_gpt.weights.names import LM_HEAD, PREFIX, SCORE, is_conv1d, renamed
from webtext_gpt.weights.tensors import refuse, same, take
from webtext_gpt.weights.tokenizer_files import (
    given_tokenizer,
    read_gpt1_tokenizer,
    read_tokenizer,
    tokenizer_files,
)

MODEL_TYPES = {model_type.name: model_type for model_type in (GPT2, GPT1)}

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
HUB_NAMES_WITHOUT_OWNER = (
    "gpt2",
    "gpt2-medium",
    "gpt2-large",
    "gpt2-xl",
    "distilgpt2",
    "openai-gpt",
)
TEXTS = ("config.json", "tokenizer.json", "vocab.json", "merges.txt")
SAFETENSORS = ("model*.safetensors", "model.safetensors.index.json")
PICKLES = ("pytorch_model*.bin", "pytorch_model.bin.index.json")

MAX_SHARD_BYTES = 5 * 10**9


def recognizes(path: ForeignPath) -> bool:
    """Return whether a path is a folder with `config.json`, a file in one, or a hub name."""
    local = path.local
    if local.is_dir():
        return (local / CONFIG).is_file()
    if local.is_file():
        has_config = path.is_pickle and (local.parent / CONFIG).is_file()
        return has_config or local.suffix == ".safetensors"
    name = str(path.given)
    return name in HUB_NAMES_WITHOUT_OWNER or (
        HUB_NAME.fullmatch(name) is not None and not Path(local.parts[0]).exists()
    )


def load(path: str | Path, tokenizer: str | Path | None = None) -> Loaded:
    """Load a language model, classifier or translation model, in evaluation mode in fp32.

    GPT-1 gets a row for `<|endoftext|>`, see `vocabulary.add_end_of_text`.

    Args:
        path: a folder with `config.json`, or a name on the hub.
        tokenizer: see `given_tokenizer`. Defaults to the folder's own.

    Raises:
        UserError: a file is missing or damaged, or our model cannot express this one.
    """
    return _load(ForeignPath(path), tokenizer)


def _load(path: ForeignPath, tokenizer: str | Path | None) -> Loaded:
    local = path.local
    if local.is_file():
        if local.suffix == ".safetensors":
            if reason := why_unreadable(local):
                raise UserError(f"{local} cannot be read as safetensors: {reason}")
            raise UserError(f"{local} has no configuration; name its folder, with {CONFIG}")
        raise UserError(f"{local} belongs to a folder with {CONFIG}; name the folder instead")
    folder = local if local.is_dir() else download(str(path.given))
    fields = read_config(folder)
    if fields.get("model_type") == MARIAN:
        return marian.load(folder, fields, tokenizer)
    is_classifier = architecture(fields).endswith("ForSequenceClassification")
    if is_classifier:
        fields["tie_word_embeddings"] = True  # these classes have no output layer
    model_type, config = _configuration(folder, fields)
    tensors = _weights(folder, model_type, config)
    if is_classifier:
        model: GPT | GPTClassifier = _empty_classifier(folder, config, fields, tensors)
    else:
        model = empty_gpt(config, "meta")
    _fill(model, tensors, model_type, folder)
    ours = _tokenizer(language_model(model), folder, model_type, tokenizer)
    return model.eval(), ours


def download(name: str) -> Path:
    """Return the folder of a model on the hub, downloaded unless it is in Hugging Face's cache.

    Raises:
        UserError: the hub cannot be reached, or has no such model.
    """
    from huggingface_hub import snapshot_download

    try:
        with hub_access():
            folder = Path(snapshot_download(name, allow_patterns=[*TEXTS, *SAFETENSORS]))
            if not any(folder.glob(SAFETENSORS[0])):
                folder = Path(snapshot_download(name, allow_patterns=[*TEXTS, *PICKLES]))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{name} does not exist (looked from {Path.cwd()}), and cannot be loaded from "
            f"Hugging Face's hub: {hub_problem(error)}; give a run, a checkpoint, or a folder "
            "that holds the model's files"
        ) from error
    return folder


def save(
    model: GPT | GPTClassifier | Transformer,
    tokenizer: Tokenizer,
    folder: str | Path,
    force: bool = False,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Write a folder for `AutoTokenizer` and `AutoModelForCausalLM`.

    A classifier is for `AutoModelForSequenceClassification`, a translation model for
    `AutoModelForSeq2SeqLM`. A new folder appears only once it is complete.

    Args:
        model: stored in fp32, missing biases as zeros; not changed.
        tokenizer: the model's.
        folder: new or empty.
        force: replace the model in a folder that is not empty; other files stay.
        max_shard_bytes: size limit of a file of weights. A larger model is written as several
            files with an index.

    Raises:
        UserError: the folder is not empty, or Hugging Face's classes cannot express the model.
        OSError: a file cannot be written.
    """
    if isinstance(model, Transformer):
        files, weights = marian.contents(model, tokenizer)
        write_folder(local_path(folder, "out"), files, shards(weights, max_shard_bytes), force)
        return
    model = with_biases(model)
    body = language_model(model)
    head = model.config if isinstance(model, GPTClassifier) else None
    model_type = GPT2 if body.config.norm == "pre" else GPT1
    if head is not None and not body.config.tied_embeddings:
        raise UserError(
            "model.tied_embeddings=false cannot be exported with a classification head: "
            f"{model_type.classifier} has no output layer to keep the body's in"
        )
    if head is not None and head.both_orders:
        raise UserError(
            f"this classifier reads pairs in both orders, which {model_type.classifier} cannot; "
            "fine-tune with task.symmetric=false for an export"
        )
    vocabulary.check(body, tokenizer)
    config = {
        "architectures": [model_type.classifier if head else model_type.language_model],
        **model_type.write_config(body.config),
        "bos_token_id": tokenizer.end_of_text,
        "eos_token_id": tokenizer.end_of_text,
        **(write_classifier_config(head) if head else {}),
    }
    files = {CONFIG: to_json(config)}
    if head is None:
        ends = ("bos_token_id", "eos_token_id", "pad_token_id")
        files["generation_config.json"] = to_json(dict.fromkeys(ends, tokenizer.end_of_text))
    files.update(tokenizer_files(tokenizer, body.config.block_size, head))
    parameters = dict(model.named_parameters())
    weights = {}
    for ours, theirs, transposed in renamed(model, model_type.names, is_conv1d, PREFIX):
        value = parameters[ours].detach()
        weights[theirs] = value.T if transposed else value
    write_folder(local_path(folder, "out"), files, shards(weights, max_shard_bytes), force)


FORMAT = ForeignFormat("Hugging Face", recognizes, _load, save)


def _configuration(folder: Path, fields: Mapping[str, Any]) -> tuple[ModelType, GPTConfig]:
    name = fields.get("model_type", "openai-gpt" if "afn" in fields else "gpt2")
    if not isinstance(name, str) or name not in MODEL_TYPES:
        raise UserError(
            f"{folder / CONFIG}: model_type is {name!r}; {', '.join(MODEL_TYPES)} and "
            f"{MARIAN} are supported"
        )
    try:
        return MODEL_TYPES[name], MODEL_TYPES[name].read_config(fields)
    except UserError as error:
        raise UserError(f"{folder / CONFIG}: {error}") from error


def _weights(folder: Path, model_type: ModelType, config: GPTConfig) -> dict[str, Tensor]:
    """Return a folder's tensors by their current names; refuse more layers than tensors.

    Early GPT-1 files use other name endings; see `gpt1`.
    """
    tensors = read_weights(folder)
    if config.n_layer > len(tensors):  # checked before the layers are allocated
        raise UserError(
            f"{folder / CONFIG}: n_layer is {config.n_layer}, and there are {len(tensors)} "
            "tensors in all"
        )
    if model_type is not GPT1:
        return tensors
    endings = re.compile("({})$".format("|".join(map(re.escape, EARLY_ENDINGS))))
    return {endings.sub(lambda m: EARLY_ENDINGS[m[1]], n): t for n, t in tensors.items()}


def _empty_classifier(
    folder: Path, body: GPTConfig, fields: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> GPTClassifier:
    """Return a classifier on the meta device, with as many labels as `score` has rows."""
    if SCORE not in tensors or tensors[SCORE].dim() != 2:
        refuse(folder, missing=[f"{SCORE}, (labels, n_embd)"])
    try:
        head = read_classifier_config(fields, labels=len(tensors[SCORE]))
        with torch.device("meta"), SkipRandomInit():
            return GPTClassifier(GPT(body), head)
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{folder / CONFIG}: id2label must number the labels from 0, and pad_token_id or "
            f"eos_token_id must be an id ({type(error).__name__}: {error})"
        ) from error
    except UserError as error:
        raise UserError(f"{folder / CONFIG}: {error}") from error


def _fill(
    model: GPT | GPTClassifier, tensors: dict[str, Tensor], model_type: ModelType, folder: Path
) -> None:
    """Give a model on the meta device the weights of a folder, and tie its embeddings again."""
    body = language_model(model)
    prefix = PREFIX if any(name.startswith(PREFIX) for name in tensors) else ""
    embedding = prefix + model_type.names["wte.weight"]
    if body.config.tied_embeddings and embedding in tensors and LM_HEAD in tensors:
        if not same(tensors[LM_HEAD], tensors[embedding]):
            raise UserError(
                f"{folder}: {LM_HEAD} differs from {embedding}, but {CONFIG} says that they are "
                "tied; set tie_word_embeddings to false there to read both"
            )
        del tensors[LM_HEAD]
    take(model, tensors, renamed(model, model_type.names, is_conv1d, prefix), folder)
    if body.config.tied_embeddings:
        body.lm_head.weight = body.wte.weight


def _tokenizer(
    model: GPT, folder: Path, model_type: ModelType, given: str | Path | None
) -> Tokenizer:
    """Return the given tokenizer or the folder's, checked against the model.

    GPT-1 gets an embedding row for `<|endoftext|>` if the tokenizer has it.
    """
    if given is not None:
        tokenizer = given_tokenizer(given)
    else:
        tokenizer = (read_gpt1_tokenizer if model_type is GPT1 else read_tokenizer)(folder)
    if model_type is GPT1 and tokenizer.vocab_size == model.config.vocab_size + 1:
        vocabulary.add_end_of_text(model, tokenizer)
    vocabulary.check(model, tokenizer)
    return tokenizer
