"""Scores of translations against figures worked out by hand."""

import pytest

from webtext_gpt.evaluation.translation_metrics import translation_scores


def test_one_token_of_five_differs() -> None:
    """4/5 tokens, 3/4 pairs, 2/3 triples and 1/2 quadruples match: BLEU is (1/5)^(1/4)."""
    scores = translation_scores(["Ein Hund sieht eine Katze"], ["Ein Hund sieht eine Kuh"])
    for name in ("bleu", "bleu_lowercase", "bleu_tokenized"):
        assert scores[name].value == pytest.approx(100 * 0.2**0.25)


def test_an_apostrophe_begins_a_token_of_moses() -> None:
    """5/6, 3/5, 2/4 and 1/3 match of `it 's a b c d`; 4/5, 3/4, 2/3 and 1/2 of `it's a b c d`."""
    scores = translation_scores(["It's a b c d"], ["It'd a b c d"])
    assert scores["bleu_tokenized"].value == pytest.approx(100 * (1 / 12) ** 0.25)
    assert scores["bleu"].value == pytest.approx(100 * (1 / 5) ** 0.25)


def test_case_counts_in_bleu_alone() -> None:
    scores = translation_scores(
        ["A small Dog sees it, he said."], ["a Small dog Sees it , he said."]
    )
    assert scores["bleu_lowercase"].value == pytest.approx(100)
    assert scores["bleu_tokenized"].value == pytest.approx(100)
    assert 0 < scores["bleu"].value < 60


def test_chrf_weighs_recall_four_times_precision() -> None:
    """Letters: precision 1, recall 2/3; pairs: 1 and 1/2. Longer ones are not in both texts."""
    precision, recall = 1.0, (2 / 3 + 1 / 2) / 2
    expected = 5 * precision * recall / (4 * precision + recall)
    scores = translation_scores(["ab"], ["abc"])
    assert scores["chrf"].value == pytest.approx(100 * expected)


def test_no_match_of_four_tokens_is_zero_without_smoothing() -> None:
    scores = translation_scores(["a b c"], ["a b c"])
    assert scores["bleu_tokenized"].value == 0


def test_signatures_name_case_and_tokens() -> None:
    signatures = {name: s.signature for name, s in translation_scores(["a"], ["a"]).items()}
    assert "case:mixed" in signatures["bleu"]
    assert "tok:13a" in signatures["bleu"]
    assert "case:lc" in signatures["bleu_lowercase"]
    assert "nc:6" in signatures["chrf"]
    assert "tok:none|smooth:none" in signatures["bleu_tokenized"]
