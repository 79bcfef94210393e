"""Direction of quotation marks, opening or closing, where the tokens do not mark it."""

from collections.abc import Sequence

from webtext_gpt.evaluation.detokenizers.base import Side

APOSTROPHE = "'"
_PAUSES = frozenset((",", ".", "!", "?", "...", "--"))
_ENDS = frozenset(",.;!?)")
_SPEAKERS = frozenset(("he", "she", "it", "they", "we", "I", "said", "says"))
_SPEECH = frozenset(
    ("said", "says", "saying", "added", "adding", "asked", "told", "replied", "wrote", "declared")
)
_WITHIN, _UNPAIRED = 1, 4
"""Costs of a line that begins within a quotation, and of two marks in a row on the same side."""


def quotation_marks(tokens: Sequence[str], quote: str = '"') -> dict[int, Side]:
    """Return the side of each quotation mark of a line by its index.

    Opening and closing marks alternate by default. But a line may begin within a quotation, as
    single sentences do, and a mark may be missing or mean inches: the reading with the lowest cost
    is taken.
    """
    places = [i for i, token in enumerate(tokens) if token == quote]
    totals = {Side.LEFT: 0, Side.RIGHT: _WITHIN}  # lowest cost of a reading by its last side
    steps: list[dict[Side, Side]] = []  # the previous side in that reading
    for place in places:
        step, reached = {}, {}
        for side, other, cost in (
            (Side.RIGHT, Side.LEFT, _opening_cost(tokens, place)),
            (Side.LEFT, Side.RIGHT, _closing_cost(tokens, place)),
        ):
            repeats = totals[side] + _UNPAIRED < totals[other]
            step[side] = side if repeats else other
            reached[side] = cost + totals[step[side]] + _UNPAIRED * repeats
        totals = reached
        steps.append(step)
    side = min(totals, key=lambda side: totals[side])
    sides = {}
    for place, step in zip(reversed(places), reversed(steps), strict=True):
        sides[place] = side
        side = step[side]
    return sides


def _opening_cost(tokens: Sequence[str], place: int) -> int:
    before, after = _neighbors(tokens, place)
    if not after or after in _ENDS:
        return 8
    if before not in _PAUSES or (place > 1 and tokens[place - 2] in _SPEECH):
        return 0
    return 2 * after[0].islower() + 2 * (after in _SPEAKERS)


def _closing_cost(tokens: Sequence[str], place: int) -> int:
    before, after = _neighbors(tokens, place)
    if not before:
        return 8
    if before in (":", "("):
        return 4
    return 2 * (before[-1].isalnum() and after[:1].isalnum())


def _neighbors(tokens: Sequence[str], place: int) -> tuple[str, str]:
    padded = ["", *tokens[max(place - 1, 0) : place + 2], ""]
    i = 1 + min(place, 1)
    return padded[i - 1], padded[i + 1]


def apostrophes(tokens: Sequence[str]) -> dict[int, Side]:
    """Return the side of each `'` of a line: a quotation mark, a genitive or an elision."""
    places = [i for i, token in enumerate(tokens) if token == APOSTROPHE]
    sides = {}
    is_open = False
    for n, place in enumerate(places):
        before, after = _neighbors(tokens, place)
        more = n + 1 < len(places)
        if before[-1:].isdigit() and after[:1].isdigit():  # 5'10
            sides[place] = Side.BOTH
        elif (
            not is_open and after == "n" and tokens[place + 2 : place + 3] == ["'"]
        ):  # rock 'n' roll
            sides[place] = Side.RIGHT
            is_open = True
        elif _is_plural(before) and after and (more or not is_open):
            sides[place] = Side.LEFT
        elif is_open:
            sides[place] = Side.LEFT
            is_open = False
        elif after and (more or after[0].isdigit() or before not in _PAUSES):
            sides[place] = Side.RIGHT
            is_open = more and not after[0].isdigit()
        else:
            sides[place] = Side.LEFT
    return sides


def _is_plural(word: str) -> bool:
    return len(word) > 1 and word[-1] in "sSxz" and word[-2].isalpha()
