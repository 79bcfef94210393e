"""Generated text against references: BLEU and ROUGE, as translations and summaries are judged."""

from collections.abc import Sequence

from webtext_gpt.errors import UserError

ROUGE = ("rouge1", "rouge2", "rougeL")


def measure_generated(completions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """BLEU of the whole and the mean F-measures of ROUGE-1, ROUGE-2 and ROUGE-L, of 100 each.

    White space around a text does not count. An empty completion scores 0.

    Args:
        completions: what was generated.
        references: for each completion, the text that it should be.

    Raises:
        UserError: there are none.
    """
    if not completions:
        raise UserError("there are no completions to measure")
    completions = [text.strip() for text in completions]
    references = [text.strip() for text in references]
    return {"bleu": bleu(completions, references), **rouge(completions, references, ROUGE)}


def bleu(completions: Sequence[str], references: Sequence[str]) -> float:
    """Corpus BLEU, 0 to 100, by sacrebleu with its own tokenisation (Papineni et al. 2002)."""
    import sacrebleu

    pairs = list(zip(completions, references, strict=True))
    return sacrebleu.corpus_bleu([c for c, _ in pairs], [[r for _, r in pairs]]).score


def rouge(
    completions: Sequence[str], references: Sequence[str], kinds: Sequence[str]
) -> dict[str, float]:
    """Mean F-measures of ROUGE, 0 to 100, of stemmed words (Lin 2004).

    Args:
        completions: what was generated, at least one.
        references: for each completion, the text that it should be.
        kinds: `rouge1`, `rouge2`, `rougeL` (of a whole text), `rougeLsum` (of its lines).
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(kinds), use_stemmer=True)
    totals = dict.fromkeys(kinds, 0.0)
    for completion, reference in zip(completions, references, strict=True):
        for kind, score in scorer.score(reference, completion).items():
            totals[kind] += score.fmeasure
    return {kind: 100 * total / len(completions) for kind, total in totals.items()}
