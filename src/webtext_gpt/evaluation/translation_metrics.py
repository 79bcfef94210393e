"""Scores of translations, each with sacreBLEU's signature of how it was computed.

Two models' scores of the same sentences are compared by paired bootstrap resampling (Koehn 2004).
sacreBLEU's own test is not used: it has no standard error, and where the scores differ it counts
one tail of the resampled differences, so that its p is about half of a two-sided one. But the same
test sets are drawn.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import stdev
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from webtext_gpt.evaluation.detokenizers.moses import ONE_BILLION_WORDS

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric

RESAMPLES, SEED = 1000, 12345
"""Number of resampled test sets, and their seed; both are sacreBLEU's defaults."""


class Scored(NamedTuple):
    """A score, 0 to 100, and how it was computed."""

    value: float
    signature: str


class Resampled(NamedTuple):
    """The difference between two models' scores over resampled test sets.

    Attributes:
        standard_error: standard deviation of the difference.
        p_value: two-sided: twice the share of test sets in which the better model is not better.
            One test set without a difference is added, so that it is never 0.
        signature: sacreBLEU's, with the number of test sets (`bs`) and their `seed`.
    """

    standard_error: float
    p_value: float
    signature: str


@dataclass(frozen=True)
class _Metric:
    """One of sacreBLEU's metrics, the form of the text that it scores, and a remark on it."""

    of: "Metric"
    prepared: Callable[[str], str] = str
    remark: str = ""

    def score(self, written: Sequence[str], references: Sequence[str]) -> Scored:
        texts, expected = self._prepared(written), self._prepared(references)
        value = self.of.corpus_score(texts, [expected]).score
        return Scored(value, f"{self.of.get_signature()}{self.remark}")

    def statistics(self, written: Sequence[str], references: Sequence[str]) -> NDArray[np.float64]:
        """Return `(n, k)` counts for each sentence, whose sums over sentences give the score."""
        texts, expected = self._prepared(written), self._prepared(references)
        return np.array(self.of._extract_corpus_statistics(texts, [expected]), dtype=np.float64)

    def resampled(self, statistics: NDArray[np.float64], n_resamples: int) -> list[float]:
        """Return the score of test sets drawn with replacement, the same ones in every call."""
        n = len(statistics)
        draws = np.random.default_rng(SEED).choice(n, size=(n_resamples, n))
        return [self.from_statistics(statistics[drawn].sum(0)) for drawn in draws]

    def _prepared(self, texts: Sequence[str]) -> list[str]:
        return [self.prepared(text) for text in texts]

    def from_statistics(self, sums: NDArray[np.float64]) -> float:
        value: float = self.of._compute_score_from_stats(sums.tolist()).score
        return value


def _metrics() -> dict[str, _Metric]:
    from sacrebleu.metrics import BLEU, CHRF

    return {
        "bleu": _Metric(BLEU()),
        "bleu_lowercase": _Metric(BLEU(lowercase=True)),
        "chrf": _Metric(CHRF()),
        "bleu_tokenized": _Metric(
            BLEU(tokenize="none", smooth_method="none", force=True),
            lambda text: ONE_BILLION_WORDS.tokenize(text.lower()),
            ", of lower-cased text in Moses' English tokens",
        ),
    }


def translation_scores(translations: Sequence[str], references: Sequence[str]) -> dict[str, Scored]:
    """Return corpus scores of translations against one reference each.

    `bleu` and `bleu_lowercase` are sacreBLEU's (Post 2018) of running text, `chrf` is chrF2
    (Popovic 2015). `bleu_tokenized` is for comparison with papers that report BLEU of tokens, as
    those on Multi30k do: lower-cased text split by Moses' rules for English, and no smoothing, as
    in multi-bleu.perl. It depends on the tokenization, so compare it only with similar ones.

    Args:
        translations: at least one.
        references: the expected text for each.
    """
    return {name: m.score(translations, references) for name, m in _metrics().items()}


def bootstrap_errors(
    translations: Sequence[str], references: Sequence[str], metrics: Iterable[str]
) -> dict[str, float]:
    """Return the standard errors of corpus scores (Koehn 2004); empty for a single sentence.

    A standard error is the standard deviation of the score over test sets of the same size, drawn
    with replacement.

    Args:
        translations: texts of one model.
        references: the expected text for each.
        metrics: names of `translation_scores`.
    """
    if len(references) < 2:
        return {}
    known = _metrics()
    return {
        name: stdev(
            known[name].resampled(known[name].statistics(translations, references), RESAMPLES)
        )
        for name in metrics
    }


def paired_bootstrap(
    metric: str,
    a: Sequence[str],
    b: Sequence[str],
    references: Sequence[str],
    n_resamples: int = RESAMPLES,
) -> Resampled:
    """Return the variation of a score's difference, B minus A, over resampled test sets.

    Each test set has as many sentences as the original, drawn with replacement; both models are
    scored on the same ones.

    Args:
        metric: a name of `translation_scores`.
        a: translations of model A, at least two.
        b: those of model B, of the same sentences.
        references: the expected text for each.
        n_resamples: number of test sets.
    """
    of = _metrics()[metric]
    ours, theirs = (of.resampled(of.statistics(texts, references), n_resamples) for texts in (a, b))
    differences = [y - x for x, y in zip(ours, theirs, strict=True)]
    not_above, not_below = (sum(sign * d <= 0 for d in differences) for sign in (1, -1))
    p_value = min(1.0, 2 * (min(not_above, not_below) + 1) / (n_resamples + 1))
    signature = of.of.get_signature()
    signature.update("bs", n_resamples)
    signature.update("seed", SEED)
    return Resampled(stdev(differences), p_value, f"{signature}{of.remark}")
