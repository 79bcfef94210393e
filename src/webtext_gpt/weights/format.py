"""What a foreign format of GPT weights is: names, and the fields of its `config.json`."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from webtext_gpt.errors import UserError
from webtext_gpt.model import GPTConfig

BLOCK = "blocks.{}."
"""Our prefix of a block's weights; `{}` stands for the number of the block."""

LINEAR = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
"""Weights of linear layers, which OpenAI's and Hugging Face's Conv1D store as (in, out)."""


LARGEST = 2**31
"""Above any number in a configuration, and small enough for tensors' sizes to be counted."""


@dataclass(frozen=True)
class Format:
    """One of Hugging Face's model types, as far as this project's model can express it.

    Attributes:
        model_type: its name in `config.json`.
        language_model: its class with a language-model head, as `architectures` has it.
        classifier: its class with a classification head.
        norm: where it has layer normalisation, in our terms.
        activation_field: the field that names the activation.
        activations: names of activations there, and ours; of several, the first is written.
        defaults: what a missing field means.
        required: fields whose other values would change the numbers, and the value we have.
        names: our names of weights and theirs, without the prefix `transformer.`.
    """

    model_type: str
    language_model: str
    classifier: str
    norm: str
    activation_field: str
    activations: Mapping[str, str]
    defaults: Mapping[str, Any]
    required: Mapping[str, Any]
    names: Mapping[str, str]

    def read_config(self, fields: Mapping[str, Any]) -> GPTConfig:
        """Our configuration of a `config.json`.

        Raises:
            UserError: a field has a value that our model cannot express, or that makes no model.
        """
        fields = {**self.defaults, **fields}
        for name, value in self.required.items():
            if fields.get(name, value) != value:
                raise UserError(
                    f"{name} is {fields[name]!r}; this model computes with {value!r} only"
                )
        for name in ("n_layer", "n_head", "n_embd", "n_positions", "vocab_size"):
            _check_number(name, fields[name], whole=True)
        for name in ("embd_pdrop", "attn_pdrop", "resid_pdrop", "initializer_range"):
            _check_number(name, fields[name])
        n_inner = fields.get("n_inner")
        if n_inner is not None and n_inner != 4 * fields["n_embd"]:
            raise UserError(
                f"n_inner is {n_inner!r}; this model's perceptron is 4 n_embd wide, "
                f"{4 * fields['n_embd']}"
            )
        activation = fields[self.activation_field]
        if not isinstance(activation, str) or activation not in self.activations:
            raise UserError(
                f"{self.activation_field} is {activation!r}, not one of "
                f"{', '.join(self.activations)}"
            )
        if not isinstance(fields["tie_word_embeddings"], bool):
            raise UserError(f"tie_word_embeddings is {fields['tie_word_embeddings']!r}, no boolean")
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
        """The `config.json` of our configuration, without `architectures` and token ids.

        Raises:
            UserError: the format cannot express the model; the message names the option.
        """
        if config.positions != "learned":
            raise UserError(
                f"model.positions={config.positions} cannot be exported: {self.language_model} "
                "has learned positions only"
            )
        if config.scale_embeddings:
            raise UserError(
                f"model.scale_embeddings=true cannot be exported: {self.language_model} does not "
                "scale its token embeddings"
            )
        theirs = [name for name, ours in self.activations.items() if ours == config.activation]
        if not theirs:
            raise UserError(
                f"model.activation={config.activation} cannot be exported: "
                f"{self.language_model} has {', '.join(sorted(set(self.activations.values())))}"
            )
        return {
            "model_type": self.model_type,
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

    def renamed(self, model: nn.Module, prefix: str = "") -> Iterator[tuple[str, str, bool]]:
        """Our name, their name, and whether they store the transpose, of a model's weights.

        Args:
            model: a `GPT`, or a classifier with its body.
            prefix: theirs of all weights but the heads', `transformer.` or nothing.
        """
        yield from renamed(model, self.names, is_conv1d, prefix)


LAYER_NORM_EPSILON = 1e-5
PREFIX = "transformer."
"""Of the names of all weights but the heads', in most files."""

HEADS = ("lm_head.weight", "score.weight")
BODY = "body."
"""Our prefix of a classifier's language model."""


def is_conv1d(name: str) -> bool:
    """Whether OpenAI and Hugging Face store the weight, by our name, transposed."""
    return name.endswith(LINEAR)


def renamed(
    model: nn.Module,
    names: Mapping[str, str],
    transposed: Callable[[str], bool],
    prefix: str = "",
) -> Iterator[tuple[str, str, bool]]:
    """Our name, their name, and whether they store the transpose, of each weight of a model.

    Args:
        model: ours; a weight that is tied to another is named once.
        names: a format's table; `{}` stands for the number of a block.
        transposed: says it of our name.
        prefix: theirs of all weights but the heads'.
    """
    for ours, _ in model.named_parameters():
        bare = ours.removeprefix(BODY)
        number = bare.split(".")[1] if bare.startswith("blocks.") else ""
        key = bare.replace(number, "{}", 1) if number else bare
        theirs = names[key].format(number)
        yield ours, theirs if theirs in HEADS else prefix + theirs, transposed(bare)


def _check_number(name: str, value: Any, whole: bool = False) -> None:
    if not isinstance(value, int if whole else int | float) or isinstance(value, bool):
        raise UserError(f"{name} is {value!r}, not a {'whole ' if whole else ''}number")
    if not 0 <= value < LARGEST:
        raise UserError(f"{name} is {value!r}, which no model has")
