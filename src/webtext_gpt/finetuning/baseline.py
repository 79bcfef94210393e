"""What words alone tell about the classes: a baseline that is measured beside every classifier."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from webtext_gpt.finetuning.data.examples import Examples
from webtext_gpt.finetuning.data.labels import encode_labels
from webtext_gpt.finetuning.data.splits import label_names
from webtext_gpt.finetuning.data.task import Task
from webtext_gpt.finetuning.metrics import measure

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

NAME = "naive_bayes"
WORDS = r"\w+|[^\w\s]"
MOST_ROWS = 100_000
"""Maximum number of training rows that it reads; of more, evenly spaced ones."""


def word_baseline(
    task: Task, train: Examples, measured: Mapping[str, Examples]
) -> dict[str, float]:
    """Return the first metric of naive Bayes on each split; none for pairs and regressions.

    It is the complement naive Bayes of Rennie et al. 2003 on TF-IDF of words and word pairs, by
    scikit-learn with its default smoothing, and takes seconds.

    Args:
        task: says the kind, the metric and the positive class.
        train: the training rows.
        measured: the splits to measure, by name.
    """
    if task.kind != "classification" or train.seconds is not None:
        return {}
    labels = label_names(train, task)
    step = -(-len(train.texts) // MOST_ROWS)
    model = _model()
    model.fit(train.texts[::step], encode_labels(train.labels, labels)[::step])
    figures = {}
    for split, examples in measured.items():
        predicted = torch.from_numpy(model.predict(examples.texts)).long()
        targets = torch.from_numpy(encode_labels(examples.labels, labels))
        outputs = F.one_hot(predicted, len(labels)).float()
        found = measure(outputs, targets, labels=labels, positive=task.positive)
        figures[split] = found[task.metrics[0]]
    return figures


def _model() -> "Pipeline":
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.naive_bayes import ComplementNB
    from sklearn.pipeline import make_pipeline

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=WORDS)
    return make_pipeline(words, ComplementNB())
