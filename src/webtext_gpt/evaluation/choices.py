"""Scoring the choices of one question, given as token ids that may exceed the model's context."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from webtext_gpt.evaluation.scoring import Scorer, Window


@dataclass(frozen=True)
class Choice:
    """One choice: token ids of its prompt and answer; those from `start` on are scored."""

    tokens: Sequence[int]
    start: int

    def cut(self, longest: int) -> "Choice":
        """Return the last `longest` tokens. At least one of them precedes the scored ones."""
        n_cut = max(0, len(self.tokens) - longest)
        return Choice(self.tokens[n_cut:], max(1, self.start - n_cut))


def score_choices(scorer: Scorer, choices: Sequence[Choice]) -> list[Tensor]:
    """Return the log-probabilities of each choice's scored tokens.

    The prefix that all choices share passes through the model once.
    """
    rows = [choice.tokens for choice in choices]
    shared = min(common_prefix(rows), *(choice.start for choice in choices))
    if shared < 1:  # they were cut at different places
        windows = [Window(c.tokens, len(c.tokens) - c.start) for c in choices]
        return [score.log_probabilities for score in scorer.score(windows)]
    scores = scorer.after_prefix(rows, shared)
    return [s[c.start - shared :] for s, c in zip(scores, choices, strict=True)]


def new_counts() -> dict[str, int]:
    """Return counts of questions, all 0.

    `ties`: the order of the choices decided. `cut_prompts`: a prompt lost its beginning to the
    model's context. `cut_continuations`: the scored part did too.
    """
    return {"ties": 0, "cut_prompts": 0, "cut_continuations": 0}


def cut_to(longest: int, choices: Sequence[Choice], counts: dict[str, int]) -> list[Choice]:
    """Return a question's choices of at most `longest` tokens, and count what was cut."""
    counts["cut_prompts"] += any(len(c.tokens) > longest for c in choices)
    counts["cut_continuations"] += any(len(c.tokens) - c.start >= longest for c in choices)
    return [choice.cut(longest) for choice in choices]


def common_prefix(rows: Sequence[Sequence[int]]) -> int:
    """Return the number of tokens at the beginning that all rows share."""
    for position, tokens in enumerate(zip(*rows, strict=False)):
        if len(set(tokens)) > 1:
            return position
    return min(map(len, rows))


def common_suffix(rows: Sequence[Sequence[int]]) -> int:
    """Return the number of tokens at the end that all rows share."""
    return common_prefix([row[::-1] for row in rows])


def first_least(losses: Sequence[float]) -> int:
    """Return the index of the lowest loss, the first of equal ones.

    NaN, the mean loss of a choice without tokens of its own, is chosen if it is the first loss and
    never otherwise: Python's `min` does this in the published evaluation of CORE.
    """
    return losses.index(min(losses))


def is_tie(losses: Sequence[float]) -> bool:
    """Return whether the order of the choices decided: equal least losses, or a NaN."""
    return losses.count(min(losses)) > 1 or any(map(math.isnan, losses))
