"""Drafts of the next tokens from repetitions in the text, verified by the model in one pass.

The last tokens of a text are looked up earlier in the text, and the tokens that followed them there
are the draft ("prompt lookup decoding", Saxena 2023). The model computes the logits of all drafted
positions in one pass, which takes little longer than a single token, since both read every weight
once. Each token is then chosen as without a draft, and the draft is used up to the first difference
(Leviathan et al. 2023), so the text is the same as without drafts, sampled texts included.
"""

from collections.abc import Sequence

LONGEST = 3
"""Longest n-gram that is looked up; shorter ones follow if it does not occur."""

MOST = 5
"""Tokens drafted at once: on a CPU, the pass then still takes about the time of one token."""


class NGramDraft:
    """Latest continuation of each n-gram of a growing text."""

    def __init__(self) -> None:
        self._text: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}  # n-gram to the position that followed it

    def add(self, tokens: Sequence[int]) -> None:
        """Append tokens to the text."""
        for token in tokens:
            end = len(self._text)
            for n in range(1, min(LONGEST, end) + 1):
                self._after[tuple(self._text[end - n :])] = end
            self._text.append(token)

    def propose(self, most: int) -> list[int]:
        """Return up to `most` tokens that followed the longest n-gram at the text's end."""
        for n in range(min(LONGEST, len(self._text)), 0, -1):
            start = self._after.get(tuple(self._text[-n:]))
            if start is not None:
                return self._text[start : start + most]
        return []
