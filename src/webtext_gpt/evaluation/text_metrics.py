"""Metrics that compare generated text with references: F1, exact match, BLEU and ROUGE."""

import re
import string
from collections import Counter
from collections.abc import Sequence

from webtext_gpt.errors import UserError

ROUGE = ("rouge1", "rouge2", "rougeL")

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalized_words(text: str) -> list[str]:
    """Return the lower-case words without punctuation and articles, as SQuAD's metric does.

    See Rajpurkar et al. 2016.
    """
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def f1(answer: str, reference: str) -> float:
    """Return the harmonic mean of word precision and recall, 0 to 1.

    Repeated words count as often as they occur in both texts.
    """
    predicted, expected = normalized_words(answer), normalized_words(reference)
    if not predicted or not expected:
        return float(predicted == expected)
    common = (Counter(predicted) & Counter(expected)).total()
    return 2 * common / (len(predicted) + len(expected))


def best_f1(answer: str, references: Sequence[str]) -> float:
    """Return CoQA's F1 against several references, 0 to 1.

    Each reference is left out in turn, and the best F1 against the others is averaged. Human
    answers are scored this way against the other humans' answers, so both figures are comparable.
    """
    scores = [f1(answer, reference) for reference in references]
    if len(scores) == 1:
        return scores[0]
    left_out = [max(scores[:n] + scores[n + 1 :]) for n in range(len(scores))]
    return sum(left_out) / len(left_out)


def exact_match(answer: str, references: Sequence[str]) -> bool:
    """Return whether the answer's normalized words equal those of a reference."""
    return any(normalized_words(answer) == normalized_words(reference) for reference in references)


def measure_generated(completions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Return corpus BLEU and the mean F-measures of ROUGE-1, ROUGE-2 and ROUGE-L, 0 to 100.

    Leading and trailing white space is ignored. An empty completion scores 0.

    Args:
        completions: generated texts.
        references: the expected text for each completion.

    Raises:
        UserError: there are no completions.
    """
    if not completions:
        raise UserError("there are no completions to measure")
    completions = [text.strip() for text in completions]
    references = [text.strip() for text in references]
    return {"bleu": bleu(completions, references), **rouge(completions, references, ROUGE)}


def bleu(completions: Sequence[str], references: Sequence[str]) -> float:
    """Return corpus BLEU, 0 to 100 (Papineni et al. 2002), by sacrebleu's default tokenizer."""
    import sacrebleu

    pairs = list(zip(completions, references, strict=True))
    return sacrebleu.corpus_bleu([c for c, _ in pairs], [[r for _, r in pairs]]).score


def rouge(
    completions: Sequence[str], references: Sequence[str], kinds: Sequence[str]
) -> dict[str, float]:
    """Return mean ROUGE F-measures, 0 to 100; see `rouge_scores`. There is at least one text."""
    scores = rouge_scores(completions, references, kinds)
    return {kind: sum(values) / len(values) for kind, values in scores.items()}


def rouge_scores(
    completions: Sequence[str], references: Sequence[str], kinds: Sequence[str]
) -> dict[str, list[float]]:
    """Return each completion's ROUGE F-measures of stemmed words, 0 to 100 (Lin 2004).

    Args:
        completions: generated texts.
        references: the expected text for each completion.
        kinds: `rouge1`, `rouge2`, `rougeL` (over the full text) or `rougeLsum` (line by line).
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(kinds), use_stemmer=True)
    scores: dict[str, list[float]] = {kind: [] for kind in kinds}
    for completion, reference in zip(completions, references, strict=True):
        for kind, score in scorer.score(reference, completion).items():
            scores[kind].append(100 * score.fmeasure)
    return scores
