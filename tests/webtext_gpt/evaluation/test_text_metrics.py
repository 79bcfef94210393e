"""F1 and exact match of answers; BLEU and ROUGE with n-gram matches counted by hand."""

import math

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.text_metrics import best_f1, exact_match, f1, measure_generated


def test_answers_are_compared_as_squad_does() -> None:
    assert f1("The cat!", "a cat") == 1
    assert f1("the big cat", "cat sat") == pytest.approx(0.5)  # 1 of 2, 1 of 2
    assert f1("", "the") == 1  # both have no words left
    assert f1("dog", "cat") == 0
    assert f1("cat cat", "cat") == pytest.approx(2 / 3)
    # Each reference is left out once: (best of b, c) + (of a, c) + (of a, b), over three.
    assert best_f1("cat", ["cat", "big cat", "dog"]) == pytest.approx((2 / 3 + 1 + 1) / 3)
    assert exact_match("The Beatles.", ["Queen", "beatles"])
    assert not exact_match("The Beatles sang", ["beatles"])


def test_bleu_and_rouge_counted_by_hand() -> None:
    """`the cat sat on the mat` against `the cat sat on a mat`: 5 of 6 words, 3 of 5 bigrams.

    BLEU's n-gram precisions are 5/6, 3/5, 2/4 and 1/3; there is no brevity penalty.
    """
    found = measure_generated([" the cat sat on the mat\n"], ["the cat sat on a mat"])
    bleu = 100 * math.exp(sum(map(math.log, (5 / 6, 3 / 5, 2 / 4, 1 / 3))) / 4)
    expected = {"bleu": bleu, "rouge1": 500 / 6, "rouge2": 60.0, "rougeL": 500 / 6}
    assert found == pytest.approx(expected)


def test_bleu_is_over_the_corpus_and_rouge_is_a_mean() -> None:
    """An empty completion halves ROUGE; BLEU gets the brevity penalty of 4 words against 8."""
    found = measure_generated(["one two three four", ""], ["one two three four"] * 2)
    expected = {"bleu": 100 * math.exp(1 - 8 / 4), "rouge1": 50, "rouge2": 50, "rougeL": 50}
    assert found == pytest.approx(expected)


def test_rouge_l_depends_on_the_order() -> None:
    """`c b a` against `a b c`: all words match, no bigram does, and one word is in order."""
    found = measure_generated(["c b a"], ["a b c"])
    assert (found["rouge1"], found["rouge2"]) == (100, 0)
    assert found["rougeL"] == pytest.approx(100 / 3)


def test_empty_and_unequal_lists_are_refused() -> None:
    with pytest.raises(UserError, match="no completions"):
        measure_generated([], [])
    with pytest.raises(ValueError, match="shorter"):
        measure_generated(["a", "b"], ["a"])
