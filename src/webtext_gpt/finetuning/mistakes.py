"""The rows of which a classifier was most wrongly sure."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def worst_mistakes(
    logits: Tensor,
    targets: Tensor,
    *,
    labels: Sequence[str],
    texts: Sequence[str],
    seconds: Sequence[str] | None,
    places: Sequence[str],
    worst: int,
) -> list[dict[str, Any]]:
    """The worst first, equally bad ones in the order of their rows.

    A wrong prediction is the worse the less probability it leaves to the true class; with a
    single label, that of a regression, the farther it is from the true number.

    Args:
        logits: `(N, n_labels)`.
        targets: `(N,)` numbers of the true classes, or true values.
        labels: names of the classes.
        texts: the N texts.
        seconds: the second texts where rows are pairs.
        places: where each row stands in its file.
        worst: how many at most.

    Returns:
        Rows of `place`, `text`, `text_pair` where there is one, `label`, `predicted`, and
        `probability` of the predicted and `probability_of_label`, or the absolute `error`.
    """
    logits = logits.detach().cpu().double()
    if len(labels) == 1:
        errors = (logits[:, 0] - targets.cpu()).abs()
        wrong, badness = errors > 0, errors
    else:
        probabilities = logits.softmax(dim=1)
        of_label = probabilities.gather(1, targets.cpu()[:, None])[:, 0]
        predicted = logits.argmax(dim=1)
        wrong, badness = predicted != targets.cpu(), -of_label
    rows = wrong.nonzero()[:, 0]
    order = rows[torch.argsort(badness[rows], descending=True, stable=True)][:worst]
    mistakes = []
    for row in order.tolist():
        mistake: dict[str, Any] = {"place": places[row], "text": texts[row]}
        if seconds is not None:
            mistake["text_pair"] = seconds[row]
        if len(labels) == 1:
            mistake["label"] = float(targets[row])
            mistake["predicted"] = float(logits[row, 0])
            mistake["error"] = float(errors[row])
        else:
            mistake["label"] = labels[int(targets[row])]
            mistake["predicted"] = labels[int(predicted[row])]
            mistake["probability"] = float(probabilities[row, predicted[row]])
            mistake["probability_of_label"] = float(of_label[row])
        mistakes.append(mistake)
    return mistakes
