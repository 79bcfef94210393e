"""Multiple choice as lm-eval measures it: the most likely of several continuations of a context."""

from collections.abc import Sequence
from dataclasses import dataclass

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.choices import Choice, cut_to, first_least, is_tie, score_choices
from webtext_gpt.evaluation.scoring import Scorer


@dataclass(frozen=True)
class Question:
    """A context, its continuations without their leading space, and the index of the right one."""

    context: str
    choices: Sequence[str]
    gold: int


def sums(
    scorer: Scorer, context: str, choices: Sequence[str], counts: dict[str, int]
) -> list[float]:
    """Return the log-probability of each choice, in nats, after the context and a space.

    White space at the end of the context is scored with the choice. No end-of-text token precedes
    the context.
    """
    stripped = context.rstrip()
    ahead = context[len(stripped) :] + " "
    before = len(scorer.tokenizer.encode(stripped))
    rows = [scorer.tokenizer.encode(stripped + ahead + choice) for choice in choices]
    cut = cut_to(scorer.block_size + 1, [Choice(row, before) for row in rows], counts)
    return [float(s.sum()) for s in score_choices(scorer, cut)]


def accuracies(scorer: Scorer, question: Question, counts: dict[str, int]) -> dict[str, float]:
    """Return `acc` and `acc_norm` of one question, each 0 or 100.

    `acc` compares the choices' log-probabilities, `acc_norm` those divided by the choices' numbers
    of characters. The first of equal choices is taken.
    """
    nats = sums(scorer, question.context, question.choices, counts)
    pairs = zip(nats, question.choices, strict=True)
    normed = [value / len(choice) if choice else float("-inf") for value, choice in pairs]
    return picked({"acc": nats, "acc_norm": normed}, question.gold, counts)


def picked(scores: dict[str, list[float]], gold: int, counts: dict[str, int]) -> dict[str, float]:
    """Return 100 for each metric whose highest score is the right choice's, else 0."""
    losses = {metric: [-value for value in values] for metric, values in scores.items()}
    counts["ties"] += any(map(is_tie, losses.values()))
    return {metric: 100.0 * (first_least(values) == gold) for metric, values in losses.items()}


def label_index(labels: Sequence[str], label: str, place: str) -> int:
    """Return the index of the right choice.

    Raises:
        UserError: no choice has the label.
    """
    if label not in labels:
        raise UserError(f"{place}: the answer is {label!r}, which is none of {', '.join(labels)}")
    return labels.index(label)
