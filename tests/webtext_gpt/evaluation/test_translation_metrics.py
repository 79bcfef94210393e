"""Scores of translations and their differences, against figures by hand and by sacreBLEU."""

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.significance import PairedTest

from webtext_gpt.evaluation.translation_metrics import (
    bootstrap_errors,
    paired_bootstrap,
    translation_scores,
)


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


REFERENCES = [
    "Ein Hund läuft über die Wiese.",
    "Zwei Männer sitzen auf einer Bank.",
    "Eine Frau liest ein Buch im Park.",
    "Kinder spielen am Strand mit einem Ball.",
    "Ein Mann fährt mit dem Fahrrad zur Arbeit.",
    "Ein Mädchen mit rotem Hut lacht.",
]
A = [
    "Ein Hund läuft über das Gras.",
    "Zwei Männer sitzen auf der Bank.",
    "Eine Frau liest ein Buch in einem Park.",
    "Die Kinder spielen mit einem Ball.",
    "Ein Mann fährt mit dem Fahrrad zur Arbeit.",
    "Ein Mädchen lacht.",
]
B = [
    "Ein Hund rennt über die Wiese.",
    "Zwei Leute sitzen auf einer Bank.",
    "Eine Frau liest im Park.",
    "Kinder spielen am Strand mit einem Ball.",
    "Ein Mann fährt Rad.",
    "Ein Mädchen mit rotem Hut lacht laut.",
]
OFFICIAL = {
    "bleu": BLEU(),
    "bleu_lowercase": BLEU(lowercase=True),
    "chrf": CHRF(),
}


@pytest.mark.parametrize("metric", OFFICIAL)
def test_resampled_test_sets_are_scored_as_sacrebleu_scores_their_texts(metric: str) -> None:
    """Each resampled test set is written out and scored by sacreBLEU's public function."""
    n, n_resamples = len(REFERENCES), 60
    differences = []
    for drawn in np.random.default_rng(12345).choice(n, size=(n_resamples, n)):
        a, b, references = ([texts[i] for i in drawn] for texts in (A, B, REFERENCES))
        ours, theirs = (OFFICIAL[metric].corpus_score(t, [references]).score for t in (a, b))
        differences.append(theirs - ours)
    above, below = (sum(sign * d > 0 for d in differences) for sign in (1, -1))
    found = paired_bootstrap(metric, A, B, REFERENCES, n_resamples)
    assert found.standard_error == pytest.approx(np.std(differences, ddof=1))
    assert 0 < min(above, below) < n_resamples / 2
    ties = n_resamples - above - below
    assert found.p_value == pytest.approx(2 * (min(above, below) + ties + 1) / (n_resamples + 1))


@pytest.mark.parametrize("metric", OFFICIAL)
def test_a_scores_standard_error_is_its_spread_over_resampled_test_sets(metric: str) -> None:
    n, scores = len(REFERENCES), []
    for drawn in np.random.default_rng(12345).choice(n, size=(1000, n)):
        texts, references = ([of[i] for i in drawn] for of in (A, REFERENCES))
        scores.append(OFFICIAL[metric].corpus_score(texts, [references]).score)
    found = bootstrap_errors(A, REFERENCES, [metric])
    assert found == {metric: pytest.approx(np.std(scores, ddof=1))}
    assert bootstrap_errors(A[:1], REFERENCES[:1], [metric]) == {}


def test_two_sentences_have_four_resampled_test_sets() -> None:
    """B is better in the first sentence alone, so in all test sets but the one that lacks it.

    That is drawn with probability 1/4, of which the two-sided p is twice.
    """
    references = ["a b c d e", "f g h i j"]
    a, b = ["a b c d x", "f g h i j"], references
    found = paired_bootstrap("bleu", a, b, references)
    assert found.p_value == pytest.approx(2 * 1 / 4, abs=4 * 2 * (0.25 * 0.75 / 1000) ** 0.5)


@pytest.mark.parametrize("metric", ["bleu", "bleu_lowercase", "chrf", "bleu_tokenized"])
def test_a_model_does_not_differ_from_itself(metric: str) -> None:
    found = paired_bootstrap(metric, A, A, REFERENCES, 20)
    assert (found.standard_error, found.p_value) == (0, 1)


def test_a_model_that_is_better_in_every_sentence() -> None:
    worse = [text.upper() for text in REFERENCES]
    found = paired_bootstrap("chrf", worse, REFERENCES, REFERENCES)
    assert found.p_value == pytest.approx(2 / 1001)
    assert paired_bootstrap("chrf", REFERENCES, worse, REFERENCES).p_value == found.p_value


def test_the_signature_is_that_of_sacrebleus_own_test() -> None:
    systems = [("A", A), ("B", B)]
    test = PairedTest(systems, {"m": CHRF()}, [REFERENCES], test_type="bs", n_samples=30)
    [signature] = test()[0].values()
    assert paired_bootstrap("chrf", A, B, REFERENCES, 30).signature == str(signature)
