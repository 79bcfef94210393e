"""BLEU and ROUGE of sentences whose matches are counted by hand."""

import math

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.generated import measure_generated


def test_matches_counted_by_hand() -> None:
    """`the cat sat on the mat` for `the cat sat on a mat`: 5 of 6 words, 3 of 5 pairs.

    BLEU: 5/6, 3/5, 2/4, 1/3 of the n-grams are matched, and both are equally long.
    """
    found = measure_generated([" the cat sat on the mat\n"], ["the cat sat on a mat"])
    bleu = 100 * math.exp(sum(map(math.log, (5 / 6, 3 / 5, 2 / 4, 1 / 3))) / 4)
    expected = {"bleu": bleu, "rouge1": 500 / 6, "rouge2": 60.0, "rougeL": 500 / 6}
    assert found == pytest.approx(expected)


def test_bleu_is_of_the_corpus_and_rouge_the_mean() -> None:
    """The second is empty: ROUGE halves; BLEU keeps its precisions, but 4 words stand for 8."""
    found = measure_generated(["one two three four", ""], ["one two three four"] * 2)
    expected = {"bleu": 100 * math.exp(1 - 8 / 4), "rouge1": 50, "rouge2": 50, "rougeL": 50}
    assert found == pytest.approx(expected)


def test_order_counts_for_the_longest_common_part() -> None:
    """`c b a` for `a b c`: all words, no pair, and one word in order."""
    found = measure_generated(["c b a"], ["a b c"])
    assert (found["rouge1"], found["rouge2"]) == (100, 0)
    assert found["rougeL"] == pytest.approx(100 / 3)


def test_nothing_and_unequal_lists_are_refused() -> None:
    with pytest.raises(UserError, match="no completions"):
        measure_generated([], [])
    with pytest.raises(ValueError, match="shorter"):
        measure_generated(["a", "b"], ["a"])
