"""Metrics of each kind of task. To add one, write its function and list it under its kind."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch.nn.functional as F
from torch import Tensor

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.text_metrics import measure_generated

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Predictions:
    """A classifier's outputs for labeled rows. A single label means a regression.

    Attributes:
        logits: `(N, n_labels)`, any float type; converted to fp64 on the CPU.
        targets: `(N,)` true class numbers, or regression targets.
        labels: class names.
        positive: the class of `f1_positive`; see `positive_class`.

    Raises:
        UserError: there are no rows, or a logit is not finite.
    """

    logits: Tensor
    targets: Tensor
    labels: Sequence[str]
    positive: str | None = None

    def __post_init__(self) -> None:
        logits, targets = self.logits.detach().cpu().double(), self.targets.detach().cpu()
        if not len(logits):
            raise UserError("there are no rows to measure")
        broken = int((~logits.isfinite()).any(dim=1).sum())
        if broken:
            raise UserError(
                f"the model's outputs for {broken:,} of {len(logits):,} rows are not finite; its "
                "training diverged: lower the learning rate"
            )
        object.__setattr__(self, "logits", logits)
        object.__setattr__(self, "targets", targets.double() if self.is_regression else targets)

    @property
    def is_regression(self) -> bool:
        """Whether the single output is a number."""
        return len(self.labels) == 1

    @functools.cached_property
    def figures(self) -> dict[str, float]:
        """Every metric of `CLASSIFICATION` or `REGRESSION`, and `loss`.

        The loss is the mean cross-entropy in nats, or the mean squared error.
        """
        metrics = REGRESSION if self.is_regression else CLASSIFICATION
        if self.is_regression:
            loss = F.mse_loss(self.predicted, self.targets)
        else:
            loss = F.cross_entropy(self.logits, self.targets)
        return {**compute(metrics, self), "loss": float(loss)}

    @functools.cached_property
    def classes(self) -> list["ClassFigures"]:
        """Figures of every class."""
        return per_class(self.predicted, self.targets, self.labels)

    @functools.cached_property
    def predicted(self) -> Tensor:
        """`(N,)` predicted class numbers, or a regression's predictions."""
        return self.logits[:, 0] if self.is_regression else self.logits.argmax(dim=1)

    @functools.cached_property
    def confusion(self) -> Tensor:
        """`(n_labels, n_labels)` counts, true classes as rows."""
        from torchmetrics.functional.classification import multiclass_confusion_matrix

        return multiclass_confusion_matrix(self.predicted, self.targets, len(self.labels))

    @functools.cached_property
    def f1(self) -> Tensor:
        """`(n_labels,)` F1 of each class; 0 for a class with neither rows nor predictions."""
        from torchmetrics.functional.classification import multiclass_f1_score

        return multiclass_f1_score(self.predicted, self.targets, len(self.labels), average="none")


@dataclass(frozen=True)
class Answers:
    """A language model's answers to prompts, and its loss on the reference completions.

    Attributes:
        loss: nats per token of the references.
        written: generated answers.
        references: for each answer, the completion that was expected.
    """

    loss: float
    written: Sequence[str]
    references: Sequence[str]

    @functools.cached_property
    def overlap(self) -> dict[str, float]:
        """BLEU and ROUGE of the answers, see `measure_generated`."""
        return measure_generated(self.written, self.references)


@dataclass(frozen=True)
class Metric(Generic[T]):
    """One metric.

    Attributes:
        compute: returns its value; `None` if it is not defined for the task.
        is_default: whether tasks without `task.metrics` use it.
        lower_is_better: whether its smallest value marks the best checkpoint.
    """

    compute: Callable[[T], float | None]
    is_default: bool = False
    lower_is_better: bool = False


@dataclass(frozen=True)
class ClassFigures:
    """Precision, recall, F1 and number of rows of one class; 0/0 is 0."""

    label: str
    precision: float
    recall: float
    f1: float
    rows: int
    """Number of rows whose true class this is."""


def measure(
    logits: Tensor, targets: Tensor, *, labels: Sequence[str], positive: str | None = None
) -> dict[str, float]:
    """Return `Predictions.figures`; for the arguments and errors see `Predictions`."""
    return Predictions(logits, targets, labels, positive).figures


def compute(metrics: Mapping[str, Metric[T]], outcome: T) -> dict[str, float]:
    """Return the values of metrics, without those that are not defined for the task."""
    values = {name: metric.compute(outcome) for name, metric in metrics.items()}
    return {name: value for name, value in values.items() if value is not None}


def positive_class(labels: Sequence[str], positive: str | None = None) -> str | None:
    """Return the class that `f1_positive` measures.

    It defaults to the last of two classes; with more than two, to `None`.

    Raises:
        UserError: `positive` is not a label.
    """
    if positive is None:
        return labels[-1] if len(labels) == 2 else None
    if positive not in labels:
        raise UserError(f"positive={positive} is none of the labels {', '.join(labels)}")
    return positive


def per_class(predicted: Tensor, targets: Tensor, labels: Sequence[str]) -> list[ClassFigures]:
    """Return the figures of every class, one against the rest.

    Args:
        predicted: `(N,)` predicted class numbers.
        targets: `(N,)` true class numbers.
        labels: class names.
    """
    from torchmetrics.functional.classification import (
        multiclass_f1_score,
        multiclass_precision,
        multiclass_recall,
    )

    columns = [
        [_rounded(value) for value in figure(predicted, targets, len(labels), average="none")]
        for figure in (multiclass_precision, multiclass_recall, multiclass_f1_score)
    ]
    rows = targets.bincount(minlength=len(labels)).tolist()
    return [ClassFigures(*values) for values in zip(labels, *columns, rows, strict=True)]


def _accuracy(p: Predictions) -> float:
    from torchmetrics.functional.classification import multiclass_accuracy

    accuracy = multiclass_accuracy(p.predicted, p.targets, len(p.labels), average="micro")
    return _rounded(accuracy)


def _f1_macro(p: Predictions) -> float:
    """Return the mean F1 of all classes, as scikit-learn with all `labels` and `zero_division=0`.

    A class with neither rows nor predictions counts as 0; torchmetrics' macro mean skips it.
    """
    return _rounded(p.f1.mean())


def _f1_positive(p: Predictions) -> float | None:
    positive = positive_class(p.labels, p.positive)
    return None if positive is None else _rounded(p.f1[list(p.labels).index(positive)])


def _matthews(p: Predictions) -> float:
    """Return R_K of Gorodkin (2004), for any number of classes, in fp64.

    It is 0 if it is undefined, because all predictions or all rows are of one class. torchmetrics
    1.9 gives another value if only one of two classes is predicted, and computes in fp32, which is
    too coarse for rare classes.
    """
    counts = p.confusion.double()
    true, predicted, total = counts.sum(1), counts.sum(0), counts.sum()
    covariance = counts.trace() * total - true @ predicted
    variances = (total**2 - predicted @ predicted) * (total**2 - true @ true)
    return float(covariance / variances.sqrt()) if variances > 0 else 0.0


def _pearson(p: Predictions) -> float:
    return _correlation(p.predicted, p.targets)


def _spearman(p: Predictions) -> float:
    return _correlation(_ranks(p.predicted), _ranks(p.targets))


def _correlation(first: Tensor, second: Tensor) -> float:
    """Return Pearson's correlation; 0 if it is undefined because one side is constant."""
    from torchmetrics.functional.regression import pearson_corrcoef

    # Not by the variance: the mean is rounded, so constants may seem to vary around it.
    if any(values.min() == values.max() for values in (first, second)):
        return 0.0
    return float(pearson_corrcoef(first, second))


def _ranks(values: Tensor) -> Tensor:
    """Return ranks in fp64; equal values share their mean rank.

    torchmetrics 1.9 sums ranks in int32, which overflows at some 65,000 rows with ties.
    """
    _, place, counts = values.unique(return_inverse=True, return_counts=True)
    return (counts.cumsum(0) - (counts - 1) / 2).double()[place]


def _rounded(value: Tensor) -> float:
    """Round a torchmetrics result to the digits that fp32 holds."""
    return round(float(value), 7)


CLASSIFICATION: dict[str, Metric[Predictions]] = {
    "accuracy": Metric(_accuracy, is_default=True),
    "f1_macro": Metric(_f1_macro),
    "f1_positive": Metric(_f1_positive),
    "matthews": Metric(_matthews),
}

REGRESSION: dict[str, Metric[Predictions]] = {
    "pearson": Metric(_pearson, is_default=True),
    "spearman": Metric(_spearman, is_default=True),
}

COMPLETION: dict[str, Metric[Answers]] = {
    "loss": Metric(lambda answers: answers.loss, is_default=True, lower_is_better=True),
    "bleu": Metric(lambda answers: answers.overlap["bleu"], is_default=True),
    "rouge1": Metric(lambda answers: answers.overlap["rouge1"]),
    "rouge2": Metric(lambda answers: answers.overlap["rouge2"]),
    "rougeL": Metric(lambda answers: answers.overlap["rougeL"], is_default=True),
}

METRICS: dict[str, Mapping[str, Metric[Any]]] = {
    "classification": CLASSIFICATION,
    "regression": REGRESSION,
    "completion": COMPLETION,
}
"""Metrics by kind of task; `task.metrics` chooses among them by name."""

DEFAULT_METRICS: dict[str, tuple[str, ...]] = {
    kind: tuple(name for name, metric in metrics.items() if metric.is_default)
    for kind, metrics in METRICS.items()
}
"""Metrics of a task that does not choose any."""
