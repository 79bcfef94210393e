# ruff: noqa: RUF001, RUF003 - characters that look like others are what the tables are about
"""Texts tokenized with Moses' `tokenizer.perl`: One Billion Words and WikiText.

Every character but letters, digits and `.,'-` is a token. An apostrophe between letters begins
one, as in `don 't`. A word keeps its full stop if it is an abbreviation or a lower-case word
follows.
"""

import re
from collections.abc import Sequence

from webtext_gpt.evaluation.detokenizers.base import Detokenizer, Side
from webtext_gpt.evaluation.detokenizers.quotes import apostrophes, quotation_marks

_STAND_INS = {"<unk>": "\ua78f", "<formula>": "\ua7f7"}
"""WikiText's placeholders, and letters that stand for them while a word is split."""

_UNKNOWN = _STAND_INS["<unk>"]
_LETTER = r"[^\W\d_]"
_FRACTIONS = "\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u209c\u2150-\u215e"  # and superscripts
_VOWELS = "\u05b0-\u05bd\u064b-\u0657\u0670\u0900-\u0903\u093a\u093b\u093e-\u094c"  # no `\w`
_PIECES = re.compile(
    rf"(\.{{2,}}|[^\w\s{_VOWELS}.,'`\-]|[_{_FRACTIONS}]|(?<![\d{_UNKNOWN}]),|,(?![\d{_UNKNOWN}])"
    rf"|'(?!{_LETTER})|(?<![^\W_])')"
    rf"|(?<={_LETTER})(?<!{_LETTER}'{_LETTER})(?='{_LETTER})|(?<=\d)(?='s)"
)
"""Separate tokens, in the group, and the beginnings of suffixes."""

_PREFIXES = frozenset(
    (
        *"ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        *("Adj", "Adm", "Adv", "Asst", "Bart", "Bldg", "Brig", "Bros", "Capt", "Cmdr", "Col"),
        *("Comdr", "Con", "Corp", "Cpl", "DR", "Dr", "Drs", "Ens", "Gen", "Gov", "Hon", "Hr"),
        *("Hosp", "Insp", "Lt", "MM", "MR", "MRS", "MS", "Maj", "Messrs", "Mlle", "Mme", "Mr"),
        *("Mrs", "Ms", "Msgr", "Nos", "Nr", "Op", "Ord", "Pfc", "Ph", "Prof", "Pvt", "Rep"),
        *("Reps", "Res", "Rev", "Rt", "Sen", "Sens", "Sfc", "Sgt", "Sr", "St", "Supt", "Surg"),
        *("rev", "v", "vs"),
    )
)
"""Words that keep their full stop (Moses' `nonbreaking_prefix.en`)."""

_NUMERIC_PREFIXES = frozenset(("Art", "No", "pp"))
"""Words that keep their full stop before a number."""

_CLOSING = frozenset(",.;:!?)]}%”’…»°™®′″♭♯²³")
_OPENING = frozenset("([{“‘«$£€¥₱₩₤#@¿¡")
_IN_CONTEXT = (
    (":−–", r"\d \d", Side.BOTH),  # 3:30, 1990–95
    ("/_—‑⁄\xad", r"[^\W_>]>? <?[^\W_]", Side.BOTH),
    (":/", r" /$|^[:/] ", Side.BOTH),  # http://
    ("–", r"\b[A-Z][a-z]+ [A-Z][a-z]+$", Side.BOTH),  # Wade–Giles
    ("&", r"^[A-Z]{1,2} [A-Z]{1,2}$", Side.BOTH),  # R&D, but Johnson & Johnson
    ("$", r"^(?:US|A|AU|C|CA|HK|NZ|S|NT|R) ", Side.BOTH),
    ("@", r"\w \S+\.", Side.BOTH),  # an e-mail address
    ("°", r"\d [CFNSEW]$", Side.BOTH),
    ("’", r"\w (?:s|t|re|ve|ll|d|m)$", Side.BOTH),
    ("(", r"\w s$", Side.BOTH),  # person(s)
    ("+~−", r"(?:^|\D) \d", Side.RIGHT),
    ("½¼¾", r"\d ", Side.LEFT),
    ("=", r"^= ", Side.LEFT),
    ("*", r"^\* ", Side.LEFT),
)
"""Characters, a pattern of the token before and the one after, and the side if it matches."""

_BY_CHARACTER: dict[str, list[tuple[re.Pattern[str], Side]]] = {}
for _marks, _pattern, _side in _IN_CONTEXT:
    for _mark in _marks:
        _BY_CHARACTER.setdefault(_mark, []).append((re.compile(_pattern), _side))


class Moses(Detokenizer):
    """The conventions of One Billion Words."""

    def split(self, word: str, following: str) -> list[str]:
        """Return the tokens of a word. See `Detokenizer.split`."""
        if word.isalpha():
            return [word]
        for placeholder, letter in _STAND_INS.items():
            word = word.replace(placeholder, letter)
        parts = _PIECES.split(word)
        pieces = [piece for part in parts if part for piece in self.split_piece(part)]
        tokens = []
        for piece, after in zip(pieces, [*pieces[1:], following], strict=True):
            stem = piece[:-1]
            if piece[-1] == "." and stem.strip(".") and not _keeps_full_stop(stem, after):
                tokens += [stem, "."]
            else:
                tokens.append(piece)
        for placeholder, letter in _STAND_INS.items():
            tokens = [token.replace(letter, placeholder) for token in tokens]
        return tokens

    def split_piece(self, piece: str) -> list[str]:
        """Return the tokens of a part of a word without punctuation; a final dot may be left."""
        return [piece]

    def sides(self, tokens: Sequence[str]) -> list[Side]:
        """Return where tokens should be joined. See `Detokenizer.sides`."""
        sides = [
            Side.NONE if token.isalpha() else self.side(before, token, after)
            for before, token, after in zip(["", *tokens], tokens, [*tokens[1:], ""], strict=False)
        ]
        for place, side in {**quotation_marks(tokens), **apostrophes(tokens)}.items():
            sides[place] = side
        return sides

    def side(self, before: str, token: str, after: str) -> Side:
        """Return where a token other than a quotation mark should be joined."""
        context = f"{before} {after}"
        for pattern, side in _BY_CHARACTER.get(token, ()):
            if pattern.search(context):
                return side
        if token in _OPENING:
            return Side.RIGHT
        is_suffix_or_ellipsis = len(token) > 1 and (token[0] == "'" or not token.strip("."))
        return Side.LEFT if token in _CLOSING or is_suffix_or_ellipsis else Side.NONE


def _keeps_full_stop(stem: str, after: str) -> bool:
    return (
        ("." in stem and any(character.isalpha() for character in stem))
        or stem in _PREFIXES
        or after[:1].islower()
        or (stem in _NUMERIC_PREFIXES and after[:1].isdigit())
    )


_INFIXES = {"@-@": "-", "@,@": ",", "@.@": "."}


class Wikitext(Moses):
    """The conventions of WikiText, which parts hyphens and numbers with `@-@`, `@,@` and `@.@`."""

    padded = True
    _HYPHEN = re.compile(r"(?<=\w)-(?=\w)")
    _NUMBER = re.compile(rf"(?:\d+|{_UNKNOWN})(?:[.,](?:\d+|{_UNKNOWN}))+\.?")
    _POINT = re.compile(r"([.,])(?!$)")

    def split_piece(self, piece: str) -> list[str]:
        """Return the tokens of a part of a word without punctuation; a final dot may be left."""
        words = [
            self._POINT.sub(r" @\1@ ", word) if self._NUMBER.fullmatch(word) else word
            for word in self._HYPHEN.split(piece)
        ]
        return " @-@ ".join(words).split(" ")

    def spell(self, tokens: Sequence[str]) -> str:
        """Return the running text of tokens that are written without spaces."""
        return "".join(_INFIXES.get(token, token) for token in tokens)

    def side(self, before: str, token: str, after: str) -> Side:
        """Return where a token other than a quotation mark should be joined."""
        return Side.BOTH if token in _INFIXES else super().side(before, token, after)


ONE_BILLION_WORDS = Moses()
"""The One Billion Word benchmark (Chelba et al. 2013)."""

WIKITEXT = Wikitext()
"""WikiText-2 and WikiText-103 (Merity et al. 2016)."""
