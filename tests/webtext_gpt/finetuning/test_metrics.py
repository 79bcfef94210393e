"""Figures of classifiers and regressions, compared with scikit-learn's and SciPy's."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    log_loss,
    matthews_corrcoef,
    mean_squared_error,
    precision_recall_fscore_support,
)
from torch import Tensor

from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.metrics import METRICS, measure, per_class, positive_class
from webtext_gpt.finetuning.run import _monitor
from webtext_gpt.training.callbacks.checkpoints import Checkpoints
from webtext_gpt.training.callbacks.early_stopping import Patience
from webtext_gpt.training.chosen_callbacks import build_callbacks


def _case(n_labels: int, rows: int, absent: int | None, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Logits with some skill; class `absent` has neither rows nor predictions."""
    generator = torch.Generator().manual_seed(n_labels)
    targets = torch.randint(0, n_labels, (rows,), generator=generator)
    logits = torch.randn(rows, n_labels, generator=generator)
    logits[torch.arange(rows), targets] += 1
    if absent is not None:
        targets[targets == absent] = (absent + 1) % n_labels
        logits[:, absent] = -20
    return logits.to(dtype), targets


@pytest.mark.parametrize(
    ("n_labels", "rows", "absent", "dtype"),
    [
        (2, 301, None, torch.float32),
        (2, 40, 1, torch.float32),
        (6, 500, 3, torch.bfloat16),
        (40, 60, 39, torch.float64),
        (3, 1, None, torch.float32),
    ],
)
def test_classification_equals_scikit_learn(
    n_labels: int, rows: int, absent: int | None, dtype: torch.dtype
) -> None:
    logits, targets = _case(n_labels, rows, absent, dtype)
    labels = [f"c{number}" for number in range(n_labels)]
    numbers = list(range(n_labels))
    true, predicted = targets.numpy(), logits.double().argmax(dim=1).numpy()
    f1 = {"labels": numbers, "zero_division": 0.0}
    expected = {
        "accuracy": accuracy_score(true, predicted),
        "f1_macro": f1_score(true, predicted, average="macro", **f1),
        "matthews": matthews_corrcoef(true, predicted),
        "loss": log_loss(true, logits.double().softmax(dim=1).numpy(), labels=numbers),
    }
    if n_labels == 2:  # with more, no class is the positive one by default
        expected["f1_positive"] = f1_score(true, predicted, average=None, **f1)[-1]
    assert measure(logits, targets, labels=labels) == pytest.approx(expected, abs=2e-7)
    first = measure(logits, targets, labels=labels, positive="c0")["f1_positive"]
    assert first == pytest.approx(f1_score(true, predicted, average=None, **f1)[0], abs=2e-7)
    columns = precision_recall_fscore_support(true, predicted, **f1)
    for place, one in enumerate(per_class(torch.tensor(predicted), targets, labels)):
        found = (one.precision, one.recall, one.f1, one.rows)
        assert found == pytest.approx([column[place] for column in columns], abs=2e-7)
        assert one.label == f"c{place}"


@pytest.mark.parametrize("n_labels", [2, 3])
def test_matthews_of_a_single_class_is_0(n_labels: int) -> None:
    """30 rows of the first class and 10 of the second, all predicted as the first."""
    logits = torch.zeros(40, n_labels)
    logits[:, 0] = 1
    targets = torch.tensor([0] * 30 + [1] * 10)
    labels = ["a", "b", "c"][:n_labels]
    assert measure(logits, targets, labels=labels)["matthews"] == 0
    assert measure(logits, torch.zeros(40).long(), labels=labels)["matthews"] == 0  # all right
    figures = measure(logits, targets, labels=labels, positive="b")
    assert figures["accuracy"] == 0.75
    assert figures["f1_positive"] == 0
    assert figures["f1_macro"] == pytest.approx(6 / 7 / n_labels, abs=1e-7)  # 2 * 30 / (40 + 30)


def test_matthews_of_a_rare_class_is_exact() -> None:
    """Ten rows of 300,000: products of the counts do not fit fp32."""
    targets = torch.zeros(300_000).long()
    targets[:10] = 1
    predicted = torch.zeros(300_000).long()
    predicted[3:12] = 1
    logits = torch.nn.functional.one_hot(predicted, 2).float()
    found = measure(logits, targets, labels=["no", "yes"])["matthews"]
    assert found == pytest.approx(matthews_corrcoef(targets, predicted), rel=1e-9)


@pytest.mark.parametrize("rows", [2, 200, 150_000])
def test_regression_equals_scipy(rows: int) -> None:
    """With ties in both targets and predictions, and with many rows."""
    generator = torch.Generator().manual_seed(rows)
    targets = torch.randint(0, 6, (rows,), generator=generator).float()
    targets[0] = 7
    predicted = ((targets + torch.randn(rows, generator=generator)) * 2).round() / 2
    predicted[0] = 9
    true, said = targets.double().numpy(), predicted.double().numpy()
    expected = {
        "pearson": pearsonr(said, true).statistic,
        "spearman": spearmanr(said, true).statistic,
        "loss": mean_squared_error(true, said),
    }
    found = measure(predicted[:, None], targets, labels=["score"])
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("rows", [1, 3, 7])
def test_constants_correlate_with_nothing(rows: int) -> None:
    varied = torch.arange(rows).float() ** 2
    constant = torch.full((rows, 1), 0.1)
    found = measure(constant, varied, labels=["score"])
    assert (found["pearson"], found["spearman"]) == (0, 0)
    assert found["loss"] == pytest.approx(np.mean((varied.double().numpy() - 0.1) ** 2), rel=1e-6)
    found = measure(varied[:, None], constant[:, 0], labels=["score"])
    assert (found["pearson"], found["spearman"]) == (0, 0)


def test_unmeasurable_predictions_are_refused() -> None:
    logits = torch.tensor([[1.0, 2.0], [float("nan"), 0.0]])
    targets = torch.tensor([0, 1])
    with pytest.raises(UserError, match="1 of 2 rows are not finite"):
        measure(logits, targets, labels=["a", "b"])
    with pytest.raises(UserError, match="positive=c is none of the labels a, b"):
        measure(logits[:1], targets[:1], labels=["a", "b"], positive="c")
    with pytest.raises(UserError, match="no rows"):
        measure(logits[:0], targets[:0], labels=["a", "b"])


def test_the_class_of_f1_positive() -> None:
    assert positive_class(["no", "yes"]) == "yes"
    assert positive_class(["no", "yes"], "no") == "no"
    assert positive_class(["a", "b", "c"], "b") == "b"
    assert positive_class(["a", "b", "c"]) is None


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, metrics in METRICS.items() for name in metrics]
)
def test_the_callbacks_take_the_direction_of_the_registry(
    kind: str, name: str, compose: Callable[..., Any], tmp_path: Path
) -> None:
    settings = compose("finetune", f"run_dir={tmp_path}")
    monitor = _monitor(settings, SimpleNamespace(kind=kind, metrics=(name,)))
    assert monitor == f"val_{name}"
    lower = METRICS[kind][name].lower_is_better
    made = build_callbacks(settings.callbacks, tmp_path, monitor, lower)
    (checkpoints,) = (c for c in made if isinstance(c, Checkpoints))
    (patience,) = (c for c in made if isinstance(c, Patience))
    assert checkpoints.monitor == f"val_{name}"
    assert checkpoints._is_better(0.0, than=1.0) == lower
    assert patience.mode == ("min" if lower else "max")


@pytest.mark.parametrize(
    ("name", "lower"), [("loss", True), ("perplexity", True), ("accuracy", False), ("f1", False)]
)
def test_runs_of_earlier_versions_know_it_by_the_metrics_name(name: str, lower: bool) -> None:
    checkpoints = Checkpoints("run", save_every=1, monitor=f"val_{name}")
    assert checkpoints._is_better(0.0, than=1.0) == lower
    assert Patience(f"val_{name}", patience=1).mode == ("min" if lower else "max")


@pytest.mark.parametrize("lower", [True, False])
def test_the_registry_decides_over_the_name_of_a_metric(lower: bool) -> None:
    for name in ("val_loss", "val_novelty"):
        checkpoints = Checkpoints("run", save_every=1, monitor=name, lower_is_better=lower)
        assert checkpoints._is_better(0.0, than=1.0) == lower
        assert Patience(name, 1, lower_is_better=lower).mode == ("min" if lower else "max")
