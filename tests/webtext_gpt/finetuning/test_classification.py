"""Trained classifiers and regressions: they learn, and their figures are right."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from webtext_gpt.checkpoint.load import load
from webtext_gpt.finetuning.predict import TextClassifier
from webtext_gpt.model import GPTClassifier

Finetune = Callable[..., dict]


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
