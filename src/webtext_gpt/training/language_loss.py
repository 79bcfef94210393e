"""The loss of pretraining, as a function of inputs and targets."""

from collections.abc import Callable

import torch
from torch import Tensor

from webtext_gpt.model import GPT, Documents, cross_entropy
from webtext_gpt.model.chunked_loss import chunked_cross_entropy

Loss = Callable[[Tensor, Tensor], Tensor]
"""Maps inputs and targets, both `(B, T)`, to the mean loss of targets not ignored, in nats."""


def documents_of(inputs: Tensor, end_of_text: int | None) -> Documents | None:
    """Return the documents in `(B, T)` inputs; `None` if no token marks where they begin."""
    return None if end_of_text is None else Documents(inputs, end_of_text)


def nats(model: GPT, inputs: Tensor, targets: Tensor, end_of_text: int | None = None) -> Tensor:
    """Return the sum of the losses of a batch; see `language_loss`."""
    logits = model(inputs, documents=documents_of(inputs, end_of_text))
    return cross_entropy(logits, targets, reduction="sum")


def language_loss(model: GPT, end_of_text: int | None = None) -> Loss:
    """Return the training loss of a model; targets are shifted by the data.

    Args:
        model: the model.
        end_of_text: the token that begins each document, if attention stays inside each.
    """

    def loss(inputs: Tensor, targets: Tensor) -> Tensor:
        documents = documents_of(inputs, end_of_text)
        return cross_entropy(model(inputs, documents=documents, padded=inputs.is_cuda), targets)

    return loss


def loss_to_compile(model: GPT, end_of_text: int | None = None) -> Loss:
    """Return the loss in the form that `torch.compile` speeds up most; see `language_loss`.

    On CPUs the vocabulary is taken in chunks, outside the compiled graph, where products add to the
    gradient in place. Results of a compiled step differ from the plain one's by rounding anyway.
    """
    chunked = torch.compiler.disable(chunked_cross_entropy)

    def loss(inputs: Tensor, targets: Tensor) -> Tensor:
        hidden = model.hidden_states(inputs, documents=documents_of(inputs, end_of_text))
        if inputs.is_cuda:
            return cross_entropy(model.lm_head(hidden, padded=True), targets)
        return chunked(hidden, model.lm_head, targets)

    return loss
