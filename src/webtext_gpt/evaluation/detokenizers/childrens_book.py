"""The Children's Book Test (Hill et al. 2015), tokenized by Stanford's Penn tokenizer."""

import re
from collections.abc import Sequence

from webtext_gpt.evaluation.detokenizers.base import Detokenizer, Side
from webtext_gpt.evaluation.detokenizers.penn import is_contracted, split_contraction

_APOSTROPHE, _BACKQUOTE, _DASH = "'", "`", "--"
_CHARACTERS = {
    "``": '"',
    "''": '"',
    "`": "'",
    "-LRB-": "(",
    "-RRB-": ")",
    "-LSB-": "[",
    "-RSB-": "]",
    "-LCB-": "{",
    "-RCB-": "}",
}
_BRACKETS = {_CHARACTERS[token]: token for token in _CHARACTERS if token[0] == "-"}
_OPENING = frozenset(("``", "`", "-LRB-", "-LSB-", "-LCB-", "$", "£", "#"))
_CLOSING = frozenset(("''", "...", "-RRB-", "-RSB-", "-RCB-", *",.;:!?%"))
_ELIDED = r"'(?:em|till?|n|bout|t(?:is|was)(?:n't)?)(?!\w)"
_PIECES = re.compile(
    rf"(-{{2,}}|\.{{2,}}|[()\[\]{{}};!?\"$£#%]|(?<!\d)[,:]|[,:](?!\d)"
    rf"|(?<![^\W_])(?!{_ELIDED})'|'(?!\w))",
    re.IGNORECASE,
)
_ABBREVIATION = re.compile(
    r"(?:[^\W\d_]\.)*[A-Z]|(?i:Mr|Mrs|Ms|Dr|St|Jr|Sr|Rev|Esq|Messrs|Mme|Mlle|Capt|Gen|Hon|etc)"
)


class ChildrensBook(Detokenizer):
    """The conventions of the Children's Book Test, which marks quotes as opening or closing.

    An opening single quote is a backquote, except before a word of one letter, where the tokenizer
    took it for a closing one. Dashes have no spaces, as in the books.
    """

    def split(self, word: str, following: str) -> list[str]:
        """Return the tokens of a word. See `Detokenizer.split`."""
        pieces = [piece for piece in _PIECES.split(word) if piece]
        tokens: list[str] = []
        last = max((i for i, piece in enumerate(pieces) if piece not in ("'", '"')), default=-1)
        for i, piece in enumerate(pieces):
            before = tokens[-1] if tokens else ""
            opens = i < last and (not before or before in _OPENING or before.startswith("--"))
            if piece == '"':
                tokens.append("``" if opens else "''")
            elif piece == "'":
                is_letter = len(pieces[-1]) == 1 and pieces[-1].isalpha() and i == len(pieces) - 2
                tokens.append("`" if opens and not is_letter else "'")
            elif piece in _BRACKETS:
                tokens.append(_BRACKETS[piece])
            elif len(piece) > 1 and piece[-1] == "." and piece[-2] != ".":
                stem = piece[:-1]
                keeps = _ABBREVIATION.fullmatch(stem)
                tokens += [piece] if keeps else [*split_contraction(stem), "."]
            else:
                tokens += split_contraction(piece)
        return tokens

    def spell(self, tokens: Sequence[str]) -> str:
        """Return the running text of tokens that are written without spaces."""
        return "".join(_CHARACTERS.get(token, token) for token in tokens)

    def sides(self, tokens: Sequence[str]) -> list[Side]:
        """Return where tokens should be joined. See `Detokenizer.sides`."""
        sides = []
        is_open = False  # a single quotation mark
        for before, token, after in zip(["", *tokens], tokens, [*tokens[1:], ""], strict=False):
            if token == _APOSTROPHE:
                opens = not is_open and len(after) == 1 and after.isalpha()
                sides.append(Side.RIGHT if opens else Side.LEFT)
                is_open = opens
            elif token == _DASH:
                sides.append(Side.BOTH)
            elif token in _OPENING:
                sides.append(Side.RIGHT)
            elif token in _CLOSING or is_contracted(before, token):
                sides.append(Side.LEFT)
            else:
                sides.append(Side.NONE)
            is_open = is_open or token == _BACKQUOTE
        return sides


CHILDRENS_BOOK = ChildrensBook()
