"""How free answers are compared with references, as SQuAD and CoQA do (Rajpurkar et al. 2016)."""

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> list[str]:
    """Words in small letters, without punctuation and articles."""
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def f1(answer: str, reference: str) -> float:
    """Harmonic mean of precision and recall of the words, repeated ones counted."""
    given, wanted = normalised(answer), normalised(reference)
    if not given or not wanted:
        return float(given == wanted)
    common = (Counter(given) & Counter(wanted)).total()
    return 2 * common / (len(given) + len(wanted))


def best_f1(answer: str, references: Sequence[str]) -> float:
    """F1 against the nearest reference; among several, each is left out once, as CoQA does.

    People were scored against the others' answers, of which there is one fewer.
    """
    scores = [f1(answer, reference) for reference in references]
    if len(scores) == 1:
        return scores[0]
    left_out = [max(scores[:n] + scores[n + 1 :]) for n in range(len(scores))]
    return sum(left_out) / len(left_out)


def exact_match(answer: str, references: Sequence[str]) -> bool:
    """Whether the answer has the words of a reference."""
    return any(normalised(answer) == normalised(reference) for reference in references)
