"""Naive Bayes on words, which is measured beside a classifier."""

import pytest

from webtext_gpt.finetuning import baseline
from webtext_gpt.finetuning.baseline import word_baseline
from webtext_gpt.finetuning.data.examples import Examples
from webtext_gpt.finetuning.data.task import Task


def _examples(rows: list[tuple[str, str]], seconds: list[str] | None = None) -> Examples:
    texts, labels = zip(*rows, strict=True)
    return Examples([*texts], seconds, [*labels], [f"row {n}" for n in range(len(rows))])


TRAIN = _examples([(f"a {word} number {n}", word) for n in range(6) for word in ("cat", "dog")])


def test_words_that_belong_to_a_class_decide() -> None:
    rows = [("the cat", "cat"), ("one dog!", "dog"), ("dog dog", "dog"), ("cat", "dog")]
    found = word_baseline(Task(name="file"), TRAIN, {"validation": _examples(rows)})
    assert found == {"validation": 0.75}


def test_the_tasks_own_metric_is_given() -> None:
    rows = [("cat", "cat"), ("dog", "dog")]
    task = Task(name="file", metrics=["matthews"])
    splits = {"validation": _examples(rows), "test": _examples([*rows, ("dog", "cat")])}
    # of three: one of cat right, one wrong, one of dog right: (1 x 1 - 0) / sqrt(1 x 2 x 1 x 2)
    expected = {"validation": 1, "test": 0.5}
    assert word_baseline(task, TRAIN, splits) == pytest.approx(expected)


def test_pairs_and_regressions_have_none() -> None:
    pairs = _examples([("a", "cat"), ("b", "dog")], ["c", "d"])
    assert word_baseline(Task(name="file", text_pair="b"), pairs, {"validation": pairs}) == {}
    numbers = Task(name="file", kind="regression")
    assert word_baseline(numbers, TRAIN, {"validation": TRAIN}) == {}


def test_many_rows_are_thinned_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second row, which are those of one class: it cannot know the other."""
    monkeypatch.setattr(baseline, "MOST_ROWS", 6)
    rows = [("a cat", "cat"), ("a dog", "dog")]
    assert (
        word_baseline(Task(name="file"), TRAIN, {"validation": _examples(rows)})["validation"]
        == 0.5
    )
