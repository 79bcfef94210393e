"""A classification head on a GPT (Radford et al. 2018, section 3.2).

The final hidden state of a sequence's last token, the extract token, goes through dropout and one
linear layer. The layer has no bias, so that Hugging Face's `GPT2ForSequenceClassification` can
hold it.
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
    """What a classification head and its inputs are made of.

    A text is read as `[start] text [delimiter second-text] extract`, and padded on the right.
    Pairs without an order, as two sentences compared, can be read both ways round, and the two
    states added (section 3.3).

    Attributes:
        labels: names of the classes in the order of the logits; a single one for a regression.
        pad_token_id: fills sequences up to the batch's longest; never the extract token.
        start_token_id: in front of every text; `None` for nothing.
        delimiter_token_id: between the two texts of a pair; `None` for nothing.
        extract_token_id: after every text; `None` leaves the text's own last token in its place.
        both_orders: pairs are read both ways round.
        dropout: on the state that the head reads.

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
                f"pad_token_id and extract_token_id are both {self.pad_token_id}; the end of a "
                "padded text could not be found"
            )
        if not 0 <= self.dropout < 1:
            raise UserError(f"the head's dropout is {self.dropout}, but must be in [0, 1)")

    def to_dict(self) -> dict[str, Any]:
        """Plain keyword arguments that make this configuration again."""
        return {**dataclasses.asdict(self), "labels": list(self.labels)}


class GPTClassifier(nn.Module):
    """A GPT that gives one logit a class, and its next-token logits where they are wanted.

    Args:
        body: the language model underneath; kept, not copied.
        config: labels and special tokens.

    Raises:
        UserError: a special token is not in the body's vocabulary.
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
        """Class logits `(B, n_labels)` of token ids, padded on the right.

        Args:
            tokens: `(B, T)` token ids, or `(B, 2, T)`: each pair both ways round.
            lengths: `(B,)` tokens of each sequence without its padding; else each ends at its
                last token that is not `pad_token_id`.
        """
        return self.classify(self.extract_states(self.hidden_states(tokens), tokens, lengths))

    def hidden_states(self, tokens: Tensor) -> Tensor:
        """The body's final hidden states, `(B, T, n_embd)` or `(B, 2, T, n_embd)`."""
        hidden = self.body.hidden_states(tokens.flatten(0, -2))
        return hidden.unflatten(0, tokens.shape[:-1])

    def extract_states(
        self, hidden: Tensor, tokens: Tensor, lengths: Tensor | None = None
    ) -> Tensor:
        """What the head reads, `(B, n_embd)`: the last tokens' states, both orders' added.

        Args:
            hidden: of `hidden_states`.
            tokens: as in `forward`.
            lengths: as in `forward`.
        """
        if tokens.dim() == 2:
            tokens, hidden = tokens[:, None], hidden[:, None]
        last = self.last_positions(tokens[:, 0], lengths)  # (B,), the same in both orders
        rows = torch.arange(last.size(0), device=last.device)
        return hidden[rows, :, last].sum(dim=1)

    def classify(self, states: Tensor, kept: Tensor | None = None) -> Tensor:
        """Class logits `(B, n_labels)` of states `(B, n_embd)`.

        Args:
            states: of `extract_states`.
            kept: `(B, n_embd)` factors in the place of dropout's own draw.
        """
        return self.head(self.dropout(states) if kept is None else states * kept)

    def last_positions(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Position `(B,)` of each sequence's last token; 0 where there is padding alone."""
        if lengths is not None:
            return lengths.long() - 1
        positions = torch.arange(tokens.size(1), device=tokens.device)
        return (positions * (tokens != self.config.pad_token_id)).amax(dim=1)


def language_model(model: GPT | GPTClassifier) -> GPT:
    """The language model that a model is, or has underneath."""
    return model.body if isinstance(model, GPTClassifier) else model


def _check_id(name: str, value: int, vocab_size: int) -> None:
    if not 0 <= value < vocab_size:
        raise UserError(f"{name} is {value}, outside the model's vocabulary of {vocab_size}")
