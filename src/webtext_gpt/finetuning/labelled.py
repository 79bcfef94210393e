"""A classifier on labelled examples: its figures, and the report of them."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from webtext_gpt.finetuning.data.examples import Examples
from webtext_gpt.finetuning.metrics import measure
from webtext_gpt.finetuning.predict import TextClassifier
from webtext_gpt.finetuning.report import (
    terminal_report,
    write_classification_report,
)


def targets_of(examples: Examples, labels: tuple[str, ...]) -> np.ndarray:
    """`(n,)` class numbers, int64; where there is one label, the numbers themselves, float32."""
    if len(labels) == 1:
        return np.array(examples.labels, dtype=np.float32)
    numbers = {label: number for number, label in enumerate(labels)}
    return np.array([numbers[str(label)] for label in examples.labels], dtype=np.int64)


def report_examples(
    classifier: TextClassifier, examples: Examples, out: Path, positive: str | None = None
) -> dict[str, float]:
    """The figures of labelled examples; a report with a picture is written, its tables printed.

    Args:
        classifier: see `TextClassifier`.
        examples: of labels that the classifier knows.
        out: folder of the report, whose name is its title.
        positive: class whose F1 is measured; see `Task`.
    """
    before = classifier.truncated
    logits = classifier.logits(examples.texts, examples.seconds)
    if cut := classifier.truncated - before:
        print(
            f"{cut:,} of the {len(examples):,} {out.name} rows do not fit the context, and are cut"
        )
    targets = torch.from_numpy(targets_of(examples, classifier.labels))
    judged: dict[str, Any] = {"labels": classifier.labels, "positive": positive}
    shown: dict[str, Any] = {"title": out.name, "logits": logits, "targets": targets, **judged}
    out.mkdir(parents=True, exist_ok=True)
    write_classification_report(
        out, **shown, texts=examples.texts, seconds=examples.seconds, places=examples.places
    )
    print(f"\n{terminal_report(**shown)}", flush=True)
    return measure(logits, targets, **judged)
