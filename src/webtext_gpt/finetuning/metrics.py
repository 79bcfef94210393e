"""How a classifier is judged: figures of its logits against true classes or true numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_precision,
    multiclass_recall,
)
from torchmetrics.functional.regression import pearson_corrcoef

from webtext_gpt.errors import UserError

CLASSIFICATION = ("accuracy", "f1_macro", "f1_positive", "matthews")
"""Metrics of a classification; `f1_positive` is there where `judged_class` is."""

REGRESSION = ("pearson", "spearman")


@dataclass(frozen=True)
class ClassFigures:
    """What a classifier makes of one class; a quotient of nothing by nothing is 0."""

    label: str
    precision: float
    recall: float
    f1: float
    rows: int
    """Rows that are truly of this class."""


def measure(
    logits: Tensor, targets: Tensor, *, labels: Sequence[str], positive: str | None = None
) -> dict[str, float]:
    """All metrics of a classification, or of a regression where there is a single label.

    A classification has those of `CLASSIFICATION` and `loss`, the mean cross-entropy in nats; of
    more than two classes it has no `f1_positive` unless `positive` is given.
    F1 is that of scikit-learn with `labels` of all classes and `zero_division=0`: a class with
    neither predictions nor rows counts 0 in the macro mean. Matthews is R_K of Gorodkin (2004)
    for any number of classes, and 0 where it is undefined: all predictions, or all rows, are of
    one class.

    A regression has those of `REGRESSION` and `loss`, the mean squared error. Both correlations
    are 0 where they are undefined, which libraries give as nan: all predictions, or all targets,
    are the same.

    Args:
        logits: `(N, n_labels)`, of any float type; figures are computed in fp64 on the CPU.
        targets: `(N,)` numbers of the true classes; of a regression, the true values.
        labels: names of the classes.
        positive: the class of `f1_positive`, one against the rest; see `judged_class`.

    Raises:
        UserError: there are no rows; a logit is not finite; `positive` is no label.
    """
    logits, targets = logits.detach().cpu().double(), targets.detach().cpu()
    if not len(logits):
        raise UserError("there are no rows to measure")
    broken = int((~logits.isfinite()).any(dim=1).sum())
    if broken:
        raise UserError(
            f"the model's outputs for {broken:,} of {len(logits):,} rows are not finite; the "
            "training that made it diverged: lower its learning rate"
        )
    if len(labels) == 1:
        return _regression(logits[:, 0], targets.double())
    predicted = logits.argmax(dim=1)
    accuracy = multiclass_accuracy(predicted, targets, len(labels), average="micro")
    # the macro mean of torchmetrics passes over classes with neither predictions nor rows
    f1 = multiclass_f1_score(predicted, targets, len(labels), average="none")
    judged = judged_class(labels, positive)
    of_one = {} if judged is None else {"f1_positive": _plain(f1[list(labels).index(judged)])}
    return {
        "accuracy": _plain(accuracy),
        "f1_macro": _plain(f1.mean()),
        **of_one,
        "matthews": _matthews(multiclass_confusion_matrix(predicted, targets, len(labels))),
        "loss": float(F.cross_entropy(logits, targets)),
    }


def judged_class(labels: Sequence[str], positive: str | None = None) -> str | None:
    """The class of `f1_positive`: `positive`, else of two classes the last, of more none.

    Raises:
        UserError: `positive` is no label.
    """
    if positive is None:
        return labels[-1] if len(labels) == 2 else None
    if positive not in labels:
        raise UserError(f"positive={positive} is none of the labels {', '.join(labels)}")
    return positive


def per_class(predicted: Tensor, targets: Tensor, labels: Sequence[str]) -> list[ClassFigures]:
    """Every class one against the rest.

    Args:
        predicted: `(N,)` numbers of classes.
        targets: `(N,)` numbers of the true classes.
        labels: names of the classes.
    """
    columns = [
        [_plain(value) for value in figure(predicted, targets, len(labels), average="none")]
        for figure in (multiclass_precision, multiclass_recall, multiclass_f1_score)
    ]
    rows = targets.bincount(minlength=len(labels)).tolist()
    return [ClassFigures(*values) for values in zip(labels, *columns, rows, strict=True)]


def _regression(predicted: Tensor, targets: Tensor) -> dict[str, float]:
    return {
        "pearson": _pearson(predicted, targets),
        "spearman": _pearson(_ranks(predicted), _ranks(targets)),
        "loss": float(F.mse_loss(predicted, targets)),
    }


def _pearson(first: Tensor, second: Tensor) -> float:
    # asked of the values: a mean is rounded, so that constants can seem to vary around it
    if any(values.min() == values.max() for values in (first, second)):
        return 0.0
    return float(pearson_corrcoef(first, second))


def _ranks(values: Tensor) -> Tensor:
    """Ranks in fp64, equal values all at their mean rank.

    The Spearman correlation of torchmetrics 1.9 sums ranks in int32, which overflows at some
    65,000 rows with ties.
    """
    _, place, counts = values.unique(return_inverse=True, return_counts=True)
    return (counts.cumsum(0) - (counts - 1) / 2).double()[place]


def _matthews(confusion: Tensor) -> float:
    """From counts `(true, predicted)`, in fp64.

    That of torchmetrics 1.9 gives two classes of which one is always predicted another figure
    than 0, and computes in fp32, where rare classes cancel out.
    """
    counts = confusion.double()
    true, predicted, total = counts.sum(1), counts.sum(0), counts.sum()
    covariance = counts.trace() * total - true @ predicted
    variances = (total**2 - predicted @ predicted) * (total**2 - true @ true)
    return float(covariance / variances.sqrt()) if variances > 0 else 0.0


def _plain(value: Tensor) -> float:
    """The fp32 figure of torchmetrics without the digits that fp32 does not hold."""
    return round(float(value), 7)
