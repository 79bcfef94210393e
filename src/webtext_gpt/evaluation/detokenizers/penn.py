"""The Penn Treebank's conventions, and its text as published by Mikolov et al. (2011).

Contractions are parted before `n't` and before the apostrophe of `'s`, `'ll` and others.
"""

import re
from collections.abc import Sequence

from webtext_gpt.evaluation.detokenizers.base import Detokenizer, Side

_SUFFIXES = frozenset(
    ("'s", "'S", "'re", "'RE", "'ve", "'VE", "'m", "'M", "'ll", "'LL", "'d", "'D", "n't", "N'T")
)
_SUFFIX = re.compile(r"(?<=[^\W\d_])(?=n't$|N'T$)|(?<=[\w.>])(?='(?:[sSmMdD]|re|RE|ve|VE|ll|LL)$)")
_FUSED = {
    ("can", "not"),
    ("gon", "na"),
    ("wan", "na"),
    ("got", "ta"),
    ("gim", "me"),
    ("lem", "me"),
    ("'t", "is"),
    ("'t", "was"),
}
"""Two tokens that are one word, also with capital letters."""
_FUSED_WORD = {first + second: len(first) for first, second in _FUSED}


def split_contraction(word: str) -> list[str]:
    """Return the tokens of a word without punctuation."""
    if n := _FUSED_WORD.get(word.lower()):
        return [word[:n], word[n:]]
    stem, *suffix = _SUFFIX.split(word)
    if suffix and (n := _FUSED_WORD.get(stem.lower())):  # 'tisn't
        return [stem[:n], stem[n:], *suffix]
    return [stem, *suffix]


def is_contracted(before: str, token: str) -> bool:
    """Return whether a token belongs to the word of the token before it."""
    return token in _SUFFIXES or (before.lower(), token.lower()) in _FUSED


_POUND = "#"


class PennTreebank(Detokenizer):
    """The conventions of Mikolov's PTB: lower case, without punctuation; `N` is a number.

    The treebank writes `#` for the pound sterling.
    """

    _CURRENCY = re.compile(r"[a-z]{0,2}\$|£|#")

    def split(self, word: str, following: str) -> list[str]:
        """Return the tokens of a word. See `Detokenizer.split`."""
        before, after = [], []
        currency = self._CURRENCY.match(word)
        if currency:
            before = [currency[0].replace("£", _POUND)]
            word = word[currency.end() :]
        if len(word) > 1 and word[-1] in "%'":
            after = [word[-1]]
            word = word[:-1]
        stem = split_contraction(re.sub(r"([/*])", r"\\\1", word)) if word else []
        return [*before, *stem, *after]

    def spell(self, tokens: Sequence[str]) -> str:
        """Return the running text of tokens that are written without spaces."""
        return "".join("£" if t == _POUND else re.sub(r"\\([/*])", r"\1", t) for t in tokens)

    def sides(self, tokens: Sequence[str]) -> list[Side]:
        """Return where tokens should be joined. See `Detokenizer.sides`."""
        sides = []
        for before, token in zip(["", *tokens], tokens, strict=False):
            if self._CURRENCY.fullmatch(token):
                sides.append(Side.RIGHT)
            elif token in ("%", "'") or is_contracted(before, token):
                sides.append(Side.LEFT)
            else:
                sides.append(Side.NONE)
        return sides


PTB = PennTreebank()
"""The Penn Treebank as published by Mikolov et al. (2011)."""
