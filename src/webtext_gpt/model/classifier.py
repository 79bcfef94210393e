"""GPT with a classification head (Radford et al. 2018, section 3.2).

The final hidden state of a sequence's last token, the extract token, goes through dropout and one
linear layer. The layer has no bias, to fit Hugging Face's `GPT2ForSequenceClassification`.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from webtext_gpt.errors import UserError
from webtext_gpt.model.gpt import GPT


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    """Labels, special tokens and dropout of a classification head.

    The input sequence is `[start] text [delimiter second-text] extract`, padded on the right. The
    texts of a pair without a natural order, as in similarity tasks, can be read in both orders;
    the two states are then added (section 3.3).

    Attributes:
        labels: names of the classes in the order of the logits; one label means regression.
        pad_token_id: pads sequences to the longest of the batch; must differ from the extract
            token.
        start_token_id: put before every text; None adds no token.
        delimiter_token_id: put between the two texts of a pair; None adds no token.
        extract_token_id: put after every text; None adds no token, so the head reads the text's
            last token.
        both_orders: read each pair in both orders.
        dropout: dropout on the state that the head reads.

    Raises:
        UserError: a value is out of range; the message names the field.
    """

    labels: tuple[str, ...]
    pad_token_id: int
    start_token_id: int | None = None
    delimiter_token_id: int | None = None
    extract_token_id: int | None = None
    both_orders: bool = False
    dropout: float = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))
        if not self.labels:
            raise UserError("a classifier needs at least one label")
        if len(set(self.labels)) < len(self.labels):
            twice = next(name for name in self.labels if self.labels.count(name) > 1)
            raise UserError(f"the label {twice!r} is given to two classes")
        if self.pad_token_id == self.extract_token_id:
            raise UserError(
                f"pad_token_id and extract_token_id are both {self.pad_token_id}; they "
                "must differ, or the end of a padded text cannot be found"
            )
        if not 0 <= self.dropout < 1:
            raise UserError(f"the head's dropout is {self.dropout}, but must be in [0, 1)")

    def to_dict(self) -> dict[str, Any]:
        """Return keyword arguments that recreate this configuration."""
        return {**dataclasses.asdict(self), "labels": list(self.labels)}


class GPTClassifier(nn.Module):
    """A GPT with a linear head that gives one logit per class.

    Args:
        body: the language model; not copied.
        config: labels, special tokens and dropout.

    Raises:
        UserError: a special token is outside the body's vocabulary.
    """

    def __init__(self, body: GPT, config: ClassifierConfig) -> None:
        super().__init__()
        for name, value in config.to_dict().items():
            if name.endswith("_token_id") and value is not None:
                _check_id(name, value, body.config.vocab_size)
        self.config = config
        self.body = body
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(body.config.n_embd, len(config.labels), bias=False)
        nn.init.normal_(self.head.weight, std=body.config.init_std)

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return class logits `(B, n_labels)`.

        Args:
            tokens: `(B, T)` token ids padded on the right, or `(B, 2, T)` for pairs in both orders.
            lengths: `(B,)` lengths without padding. None means that each sequence ends at its
                last token other than `pad_token_id`.
        """
        return self.classify(self.extract_states(self.hidden_states(tokens), tokens, lengths))

    def hidden_states(self, tokens: Tensor) -> Tensor:
        """Return the body's final hidden states, `(B, T, n_embd)` or `(B, 2, T, n_embd)`."""
        hidden = self.body.hidden_states(tokens.flatten(0, -2))  # (B or 2 B, T, n_embd)
        return hidden.view(*tokens.shape, -1)

    def extract_states(
        self, hidden: Tensor, tokens: Tensor, lengths: Tensor | None = None
    ) -> Tensor:
        """Return the states `(B, n_embd)` of the last tokens, summed over both orders of a pair.

        Args:
            hidden: result of `hidden_states`.
            tokens: as in `forward`.
            lengths: as in `forward`.
        """
        if tokens.dim() == 2:
            tokens, hidden = tokens[:, None], hidden[:, None]
        last = self.last_positions(tokens[:, 0], lengths)  # (B,), the same in both orders
        rows = torch.arange(last.size(0), device=last.device)
        return hidden[rows, :, last].sum(dim=1)

    def classify(self, states: Tensor, kept: Tensor | None = None) -> Tensor:
        """Return class logits `(B, n_labels)` of states `(B, n_embd)`.

        Args:
            states: result of `extract_states`.
            kept: `(B, n_embd)` dropout factors, 0 or 1 / (1 - p). None draws them.
        """
        logits: Tensor = self.head(self.dropout(states) if kept is None else states * kept)
        return logits

    def last_positions(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the position `(B,)` of each sequence's last token; 0 if it is all padding."""
        if lengths is not None:
            return lengths.long() - 1
        positions = torch.arange(tokens.size(1), device=tokens.device)
        return (positions * (tokens != self.config.pad_token_id)).amax(dim=1)


def language_model(model: GPT | GPTClassifier) -> GPT:
    """Return the model itself, or the body of a classifier."""
    return model.body if isinstance(model, GPTClassifier) else model


def _check_id(name: str, value: int, vocab_size: int) -> None:
    if not 0 <= value < vocab_size:
        raise UserError(f"{name} is {value}, outside the model's vocabulary of {vocab_size}")
