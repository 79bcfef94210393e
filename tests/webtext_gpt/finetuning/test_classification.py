"""Trained classifiers and regressions: they learn, and their figures are right."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from webtext_gpt.checkpoint.load import load
from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.classification import label_loss
from webtext_gpt.finetuning.command import run_command
from webtext_gpt.finetuning.predict import TextClassifier
from webtext_gpt.model import GPTClassifier

Finetune = Callable[..., dict]


@pytest.mark.slow
def test_a_classifier_learns_and_reports_its_accuracy(
    finetune: Finetune, animals: Path, tmp_path: Path
) -> None:
    """300 steps suffice to recognize a word; the summary's figures are those of the saved model."""
    test = animals / "test.csv"
    summary = finetune(f"task.test={test}", "trainer.max_steps=300", "validate_every=100")
    assert summary["test_accuracy"] > 0.9
    run = tmp_path / "run"
    assert json.loads((run / "summary.json").read_text()) == pytest.approx(summary)
    opened = load(run)
    model, tokenizer = opened.model, opened.tokenizer
    assert isinstance(model, GPTClassifier)
    assert model.config.labels == ("bird", "cat", "dog")
    rows = list(csv.DictReader(test.open()))
    logits = TextClassifier(model, tokenizer).logits([row["text"] for row in rows])
    right = [model.config.labels[i] for i in logits.argmax(dim=1)] == [r["label"] for r in rows]
    hits = sum(
        model.config.labels[i] == row["label"]
        for i, row in zip(logits.argmax(dim=1).tolist(), rows, strict=True)
    )
    assert summary["test_accuracy"] == pytest.approx(hits / len(rows))
    assert right == (hits == len(rows))
    for name in ("loss.png", "validation/confusion.png", "test/report.md", "test/mistakes.jsonl"):
        assert (run / name).stat().st_size > 0 or name.endswith("jsonl")


def test_a_texts_logits_do_not_depend_on_its_batch(finetune: Finetune, tmp_path: Path) -> None:
    finetune()
    loaded = load(tmp_path / "run")
    classifier = TextClassifier(loaded.model, loaded.tokenizer)
    text, long = "the old cat hears", "the river and " * 30
    alone = classifier.logits([text])[0]
    for others in (["a", "the dog"] * 20, [long] * 20):
        together = classifier.logits([*others, text, *others])[len(others)]
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_a_regression_over_symmetric_pairs(finetune: Finetune, tmp_path: Path) -> None:
    """A regression over symmetric pairs: one output, both orders, the same from either side."""
    summary = finetune(
        *(
            "task.kind=regression",
            "task.label=score",
            "task.text_pair=other",
            "task.symmetric=true",
        ),
        "task.metrics=[spearman,pearson]",
    )
    assert {"val_spearman", "val_pearson", "val_loss", "best_val_spearman"} <= set(summary)
    loaded = load(tmp_path / "run")
    classifier = TextClassifier(loaded.model, loaded.tokenizer)
    there, back = classifier.logits(["a cat", "dog"], ["dog", "a cat"])
    assert classifier.labels == ("score",)
    torch.testing.assert_close(there, back)


def test_a_limited_validation_measures_only_its_rows(finetune: Finetune, animals: Path) -> None:
    """Rows that are left out do not count as the first class."""
    summary = finetune("trainer.limit_val_batches=1", "micro_batch_size=8", "validate_every=12")
    assert round(8 * summary["best_val_accuracy"], 5) % 1 == 0


def test_of_checkpoints_with_equal_accuracy_the_lowest_loss_is_kept(
    finetune: Finetune, cases: Path, tmp_path: Path
) -> None:
    """Steps that are too small to change a prediction lower the loss of the same rows."""
    file = cases / "finetuning" / "tied_metric.csv"
    options = [f"task.train={file}", f"task.validation={file}", "batch_size=80", "lm_weight=0"]
    options += ["dropout=0", "optimizer.lr=1e-6", "validate_every=2", "trainer.max_steps=6"]
    summary = finetune(*options)
    with (tmp_path / "run" / "metrics.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row.get("val_accuracy")]
    assert len({row["val_accuracy"] for row in rows}) == 1
    losses = [float(row["val_loss"]) for row in rows]
    assert losses == sorted(losses, reverse=True)
    assert summary["val_loss"] == pytest.approx(losses[-1], abs=1e-7)
    best = tmp_path / "run" / "checkpoints" / "best.ckpt"
    assert best.readlink().name == "step-00000006.ckpt"


def test_class_weights_are_factors_of_the_rows_losses() -> None:
    """The mean is over rows, so that of two equal halves is that of the whole."""
    logits = torch.tensor([[2.0, 0.5], [0.0, 1.0], [1.5, -1.0], [0.3, 0.2]])
    targets, weights = torch.tensor([0, 1, 0, 0]), torch.tensor([0.5, 3.0])
    nats = [
        math.log(sum(math.exp(value) for value in row)) - row[target]
        for row, target in zip(logits.tolist(), targets.tolist(), strict=True)
    ]
    weighed = [factor * nat for factor, nat in zip((0.5, 3.0, 0.5, 0.5), nats, strict=True)]
    assert float(label_loss(logits, targets, weights)) == pytest.approx(sum(weighed) / 4)
    halves = [label_loss(logits[half], targets[half], weights) for half in (slice(2), slice(2, 4))]
    assert float(sum(halves)) / 2 == pytest.approx(sum(weighed) / 4)
    assert float(label_loss(logits, targets, None)) == pytest.approx(sum(nats) / 4)
    single = torch.tensor([[1.0], [3.0]])
    assert float(label_loss(single, torch.tensor([0.0, 1.0]), None)) == pytest.approx(2.5)


def test_balanced_classes_change_training_and_not_the_metrics(
    finetune: Finetune, compose: Callable[..., Any], tmp_path: Path
) -> None:
    """One row in nine is of the rare class: weights 54 / (2 x 48) and 54 / (2 x 6)."""
    file = tmp_path / "rare.csv"
    rows = [f"the cat {n},{'rare' if n % 9 == 0 else 'often'}" for n in range(54)]
    file.write_text("\n".join(["text,label", *rows, ""]))
    options = [f"task.train={file}", f"task.validation={file}", "batch_size=54", "dropout=0"]
    options += ["lm_weight=0", "optimizer.lr=1e-9", "trainer.max_steps=1", "validate_every=1"]
    found = {}
    for name, weights in (("equal", "null"), ("balanced", "balanced")):
        run = tmp_path / name
        summary = finetune(*options, f"task.class_weights={weights}", f"run_dir={run}")
        with (run / "metrics.csv").open() as stream:
            losses = [row["train_loss"] for row in csv.DictReader(stream) if row["train_loss"]]
        found[name] = (float(losses[0]), summary["val_loss"])
    assert found["equal"][1] == pytest.approx(found["balanced"][1], rel=1e-5)
    assert found["equal"][0] == pytest.approx(found["equal"][1], rel=1e-4)
    best = load(tmp_path / "equal")
    texts = [row.partition(",")[0] for row in rows]
    logits = TextClassifier(best.model, best.tokenizer).logits(texts).double()
    rare = torch.arange(54) % 9 == 0
    nats = -logits.log_softmax(1)[torch.arange(54), rare.long()]  # the classes: often, rare
    expected = (nats * torch.where(rare, 54 / 12, 54 / 96)).mean()
    assert found["balanced"][0] == pytest.approx(float(expected), rel=1e-4)
    assert found["balanced"][0] != pytest.approx(found["equal"][0], rel=1e-3)
    resume = (f"resume={tmp_path / 'balanced'}", "task.class_weights=null")
    settings = compose("finetune", *resume, "trainer.max_steps=2")
    with pytest.raises(UserError, match="has task.class_weights=balanced, but this call has None"):
        run_command(settings)
