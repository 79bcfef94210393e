"""Scores of translations, each with the signature that sacreBLEU makes it comparable by."""

from collections.abc import Sequence
from typing import NamedTuple

from webtext_gpt.evaluation.detokenizers.moses import ONE_BILLION_WORDS


class Scored(NamedTuple):
    """A score, 0 to 100, and how it was computed."""

    value: float
    signature: str


def translation_scores(translations: Sequence[str], references: Sequence[str]) -> dict[str, Scored]:
    """Return corpus scores of translations against one reference each.

    `bleu` and `bleu_lowercase` are sacreBLEU's (Post 2018) of running text, `chrf` is chrF2
    (Popovic 2015). `bleu_tokenized` is for comparison with papers that report BLEU of tokens, as
    those on Multi30k do: of lower-cased text split by Moses' rules for English, and not smoothed,
    as multi-bleu.perl computes it. It depends on the tokenization, so only similar ones compare.

    Args:
        translations: at least one.
        references: the expected text for each.
    """
    from sacrebleu.metrics import BLEU, CHRF

    found = {}
    for name, metric in (
        ("bleu", BLEU()),
        ("bleu_lowercase", BLEU(lowercase=True)),
        ("chrf", CHRF()),
    ):
        score = metric.corpus_score(list(translations), [list(references)]).score
        found[name] = Scored(score, str(metric.get_signature()))
    tokens, expected = (
        [ONE_BILLION_WORDS.tokenize(text.lower()) for text in texts]
        for texts in (translations, references)
    )
    plain = BLEU(tokenize="none", smooth_method="none", force=True)
    score = plain.corpus_score(tokens, [expected]).score
    how = f"{plain.get_signature()}, of lower-cased text in Moses' English tokens"
    return {**found, "bleu_tokenized": Scored(score, how)}
