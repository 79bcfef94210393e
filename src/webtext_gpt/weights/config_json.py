"""Conversion between Hugging Face's `config.json` and our configurations."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from webtext_gpt.errors import UserError
from webtext_gpt.model import ClassifierConfig, GPTConfig

LAYER_NORM_EPSILON = 1e-5

LARGEST = 2**31
"""Limit for numbers in a configuration, low enough that the sizes of tensors do not overflow."""


@dataclass(frozen=True)
class ModelType:
    """One of Hugging Face's model types, and its mapping to our model.

    Attributes:
        name: its `model_type` in `config.json`.
        language_model: class with a language-model head, as listed in `architectures`.
        classifier: class with a classification head.
        norm: `GPTConfig.norm` of its blocks.
        activation_field: field that names the activation.
        activations: our name of each of their activations. If several have the same value, the
            first is written.
        defaults: values of missing fields.
        required: fields that must be absent or have this value, because another value would
            change the model's outputs.
        names: their name, without the prefix `transformer.`, of each of our weights; see
            `webtext_gpt.weights.names`.
    """

    name: str
    language_model: str
    classifier: str
    norm: str
    activation_field: str
    activations: Mapping[str, str]
    defaults: Mapping[str, Any]
    required: Mapping[str, Any]
    names: Mapping[str, str]

    def read_config(self, fields: Mapping[str, Any]) -> GPTConfig:
        """Convert the fields of a `config.json` to our configuration.

        Raises:
            UserError: a field has a value that our model cannot express, or an invalid one.
        """
        fields = {**self.defaults, **fields}
        for name, value in self.required.items():
            if fields.get(name, value) != value:
                raise UserError(f"{name} is {fields[name]!r}; our model supports only {value!r}")
        for name in ("n_layer", "n_head", "n_embd", "n_positions", "vocab_size"):
            check_number(name, fields[name], whole=True)
        for name in ("embd_pdrop", "attn_pdrop", "resid_pdrop", "initializer_range"):
            check_number(name, fields[name])
        n_inner = fields.get("n_inner")
        if n_inner is not None and n_inner != 4 * fields["n_embd"]:
            raise UserError(
                f"n_inner is {n_inner!r}; the MLP of our model is 4 n_embd wide, "
                f"{4 * fields['n_embd']}"
            )
        activation = fields[self.activation_field]
        if not isinstance(activation, str) or activation not in self.activations:
            raise UserError(
                f"{self.activation_field} is {activation!r}, not one of "
                f"{', '.join(self.activations)}"
            )
        if not isinstance(fields["tie_word_embeddings"], bool):
            raise UserError(
                f"tie_word_embeddings is {fields['tie_word_embeddings']!r}, not a boolean"
            )
        return GPTConfig(
            n_layer=fields["n_layer"],
            n_head=fields["n_head"],
            n_embd=fields["n_embd"],
            block_size=fields["n_positions"],
            vocab_size=fields["vocab_size"],
            norm=self.norm,
            activation=self.activations[activation],
            embd_dropout=fields["embd_pdrop"],
            attn_dropout=fields["attn_pdrop"],
            resid_dropout=fields["resid_pdrop"],
            tied_embeddings=fields["tie_word_embeddings"],
            init_std=fields["initializer_range"],
        )

    def write_config(self, config: GPTConfig) -> dict[str, Any]:
        """Convert our configuration to the fields, without `architectures` and token ids.

        Raises:
            UserError: the format cannot express the model; the message names the option.
        """
        if config.positions != "learned":
            raise UserError(
                f"model.positions={config.positions} cannot be exported: {self.language_model} "
                "supports only learned positions"
            )
        if config.later_than_gpt2:
            options = ", ".join(f"model.{n}={v}" for n, v in config.later_than_gpt2.items())
            raise UserError(
                f"{options} cannot be exported: {self.language_model} has nothing of the kind"
            )
        if config.scale_embeddings:
            raise UserError(
                f"model.scale_embeddings=true cannot be exported: {self.language_model} does not "
                "scale its token embeddings"
            )
        theirs = [name for name, ours in self.activations.items() if ours == config.activation]
        if not theirs:
            supported = ", ".join(sorted(set(self.activations.values())))
            raise UserError(
                f"model.activation={config.activation} cannot be exported: "
                f"{self.language_model} supports {supported}"
            )
        return {
            "model_type": self.name,
            "n_layer": config.n_layer,
            "n_head": config.n_head,
            "n_embd": config.n_embd,
            "n_positions": config.block_size,
            "vocab_size": config.vocab_size,
            self.activation_field: theirs[0],
            "embd_pdrop": config.embd_dropout,
            "attn_pdrop": config.attn_dropout,
            "resid_pdrop": config.resid_dropout,
            "layer_norm_epsilon": LAYER_NORM_EPSILON,
            "initializer_range": config.init_std,
            "tie_word_embeddings": config.tied_embeddings,
            "dtype": "float32",
        }


def read_classifier_config(fields: Mapping[str, Any], labels: int) -> ClassifierConfig:
    """Return the configuration of a classification head.

    Args:
        fields: fields of `config.json`.
        labels: number of labels, to name them if `id2label` is missing.

    Raises:
        UserError: a value is out of range.
        KeyError: the labels are not numbered from 0, or there is no padding token.
        TypeError: a value has the wrong type.
    """
    id2label = fields.get("id2label") or {str(i): f"LABEL_{i}" for i in range(labels)}
    pad = fields.get("pad_token_id")
    return ClassifierConfig(
        labels=tuple(str(id2label[str(i)]) for i in range(len(id2label))),
        pad_token_id=fields["eos_token_id"] if pad is None else pad,
        start_token_id=fields.get("start_token_id"),
        delimiter_token_id=fields.get("delimiter_token_id"),
        extract_token_id=fields.get("extract_token_id"),
        dropout=fields.get("classifier_dropout", 0.0),
    )


def write_classifier_config(config: ClassifierConfig) -> dict[str, Any]:
    """Return the fields of a classification head, the inverse of `read_classifier_config`."""
    return {
        "pad_token_id": config.pad_token_id,
        "id2label": {str(i): label for i, label in enumerate(config.labels)},
        "label2id": {label: i for i, label in enumerate(config.labels)},
        "start_token_id": config.start_token_id,
        "delimiter_token_id": config.delimiter_token_id,
        "extract_token_id": config.extract_token_id,
        "classifier_dropout": config.dropout,
    }


def check_number(name: str, value: object, whole: bool = False) -> None:
    """Refuse a value of a field that is not a number from 0 to `LARGEST`.

    Raises:
        UserError: it is not; the message names the field.
    """
    if not isinstance(value, int if whole else int | float) or isinstance(value, bool):
        raise UserError(f"{name} is {value!r}, not a {'whole ' if whole else ''}number")
    if not 0 <= value < LARGEST:
        raise UserError(f"{name} is {value!r}, which is out of range")
