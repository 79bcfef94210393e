"""The log-probability of text by parts: unrelated sentences, or blocks of running text."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from webtext_gpt.evaluation.confidence import ratio_values
from webtext_gpt.evaluation.scoring import ProgressCallback, Scorer, Window

BLOCK_CHARACTERS = 4096
"""Length of a block of running text: some paragraphs, so that neighbouring blocks depend little on
one another. It does not depend on the tokenizer, so that two models are compared on the same text.
"""


@dataclass(frozen=True)
class ScoredText:
    """The log-probability of a text and of its parts.

    Attributes:
        log_probability: sum over all tokens, in nats.
        n_tokens: number of tokens.
        nats: -ln p of each part.
        sizes: characters of each part.
    """

    log_probability: float
    n_tokens: int
    nats: list[float]
    sizes: list[int]

    def per_part(self, units: float) -> list[float]:
        """Return a value per part; their mean is the nats per unit of a text of `units` units."""
        return ratio_values(self.nats, self.sizes, units)


def score_documents(
    scorer: Scorer,
    documents: Sequence[str],
    windows: Sequence[Sequence[Window]],
    progress: ProgressCallback,
) -> ScoredText:
    """Score unrelated documents, each of which is a part.

    Args:
        scorer: the model.
        documents: the texts.
        windows: the sliding windows of each.
        progress: see `Scorer.score`.
    """
    totals = scorer.documents(windows, progress)
    n_tokens = sum(window.scored for some in windows for window in some)
    sizes = [len(document) for document in documents]
    return ScoredText(math.fsum(totals), n_tokens, [-total for total in totals], sizes)


def score_running_text(
    scorer: Scorer, text: str, windows: Sequence[Window], progress: ProgressCallback
) -> ScoredText:
    """Score running text. A token belongs to the block in which its first character is.

    Args:
        scorer: the model.
        text: the text.
        windows: its sliding windows, or the first of them.
        progress: see `Scorer.score`.
    """
    scores = [score.log_probabilities for score in scorer.score(windows, progress=progress)]
    starts = scorer.tokenizer.starts(text)
    n_tokens = sum(map(len, scores))
    end = int(starts[n_tokens]) if n_tokens < len(starts) else len(text)
    blocks = starts[:n_tokens] // BLOCK_CHARACTERS
    n_blocks = max(1, -(-end // BLOCK_CHARACTERS), int(blocks.max(initial=0)) + 1)
    nats = np.bincount(
        blocks, weights=-np.concatenate([s.numpy() for s in scores]), minlength=n_blocks
    )
    sizes = [
        max(1, min(BLOCK_CHARACTERS, end - block * BLOCK_CHARACTERS)) for block in range(n_blocks)
    ]
    total = math.fsum(float(score.sum()) for score in scores)
    return ScoredText(total, n_tokens, nats.tolist(), sizes)
