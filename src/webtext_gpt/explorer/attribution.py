"""A classifier's probabilities for a text, and each token's part in the decision."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from webtext_gpt.checkpoint.load import LoadedModel
from webtext_gpt.errors import UserError
from webtext_gpt.explorer.integrated_gradients import Array, integrated_gradients
from webtext_gpt.explorer.tokens import described
from webtext_gpt.finetuning.data.sequences import encode_texts
from webtext_gpt.finetuning.predict import TextClassifier
from webtext_gpt.model import GPTClassifier


def classify(loaded: LoadedModel, text: str, second: str | None = None) -> dict[str, Any]:
    """Return the logits and class probabilities of a text or a pair of texts.

    Args:
        loaded: a classifier.
        text: the text, or the first one of a pair.
        second: the second text of a pair.

    Returns:
        `classes`, each with `label`, `logit` and `probability` (`None` for a regression), in the
        order of the logits; `tokens`, the sequence that the model reads; and `n_cut`, the number
        of tokens cut from the texts' ends to fit the context.

    Raises:
        UserError: the model is no classifier, or takes pairs and `second` is `None`, or the
            reverse; or its logits are not finite.
    """
    model, sequence, n_cut = _read(loaded, text, second)
    seconds = None if second is None else [second]
    logits = TextClassifier(model, loaded.tokenizer).logits([text], seconds)[0]
    probabilities = logits.softmax(dim=0).tolist() if len(logits) > 1 else [None]
    classes = [
        {"label": label, "logit": logit, "probability": probability}
        for label, logit, probability in zip(
            model.config.labels, logits.tolist(), probabilities, strict=True
        )
    ]
    tokens = described(loaded.tokenizer, sequence[0].tolist())
    return {"classes": classes, "tokens": tokens, "n_cut": n_cut}


def attributions(
    loaded: LoadedModel, text: str, second: str | None = None, label: str | None = None
) -> dict[str, Any]:
    """Return how much each token adds to a label's logit, see `integrated_gradients`.

    Args:
        loaded: a classifier.
        text: the text, or the first one of a pair.
        second: the second text of a pair.
        label: the label of the logit; by default the likeliest.

    Returns:
        `label`; `tokens`, each with its `attribution` in units of the logit: summed over both
        orders of a pair, and 0 for the start, delimiter and extract tokens; their `sum`; the
        `difference` between the logits of the text and of the baseline; `steps`, the number of
        gradients; and `n_cut`.

    Raises:
        UserError: as `classify` and `integrated_gradients`; or there is no such label.
    """
    model, sequence, n_cut = _read(loaded, text, second)
    labels = model.config.labels
    classes = classify(loaded, text, second)["classes"]
    if label is None:
        label = max(classes, key=lambda row: float(row["logit"]))["label"]
    if label not in labels:
        raise UserError(f"label={label!r} must be one of {', '.join(labels)}")
    is_text = _is_text(model, sequence)
    parts, difference, steps = integrated_gradients(model, sequence, is_text, labels.index(label))
    amounts = _of_both_orders(model, sequence, parts)
    ids = sequence[0].tolist()
    return {
        "label": label,
        "tokens": described(loaded.tokenizer, ids, attribution=amounts.tolist()),
        "sum": float(amounts.sum()),
        "difference": difference,
        "steps": steps,
        "n_cut": n_cut,
    }


def _read(loaded: LoadedModel, text: str, second: str | None) -> tuple[GPTClassifier, Tensor, int]:
    """Return the classifier, its input `(orders, T)`, and the number of tokens that do not fit."""
    model, tokenizer = loaded.model, loaded.tokenizer
    if not isinstance(model, GPTClassifier):
        raise UserError("this model is a language model, not a classifier; it has no labels")
    config = model.config
    if config.delimiter_token_id is None and second is not None:
        raise UserError("this classifier reads single texts; leave second out")
    if config.delimiter_token_id is not None and second is None:
        raise UserError("this classifier reads pairs of texts; give the other text as second")
    seconds = None if second is None else [second]
    encoded = encode_texts(tokenizer, config, model.body.config.block_size, [text], seconds)
    ids = np.atleast_2d(encoded.tokens[0])  # (orders, T)
    if not ids.size:  # as in prediction: an empty text without special tokens
        ids = np.array([[config.pad_token_id]])
    sequence = torch.from_numpy(ids).to(model.head.weight.device)
    given = sum(len(tokenizer.encode(one)) for one in (text, second or ""))
    return model, sequence, max(0, given - int(_is_text(model, sequence)[0].sum()))


def _is_text(model: GPTClassifier, sequence: Tensor) -> Tensor:
    """Return which tokens `(orders, T)` belong to the texts; the others are special tokens."""
    config = model.config
    given = (config.start_token_id, config.delimiter_token_id, config.extract_token_id)
    special = [token for token in given if token is not None]
    return ~torch.isin(sequence, torch.tensor(special, device=sequence.device))


def _of_both_orders(model: GPTClassifier, sequence: Tensor, parts: Array) -> Array:
    """Return attributions `(T,)`: those of a reversed pair are added to those of the first order.

    The rows of `parts` are `start A delimiter B extract` and `start B delimiter A extract`.
    """
    amounts = parts[0].copy()
    if len(parts) == 2:
        there, back = _is_text(model, sequence).cpu().numpy()
        delimiter = sequence[0].tolist().index(model.config.delimiter_token_id)
        n_first = there[:delimiter].sum()
        amounts[there] += np.roll(parts[1][back], n_first)
    return amounts
