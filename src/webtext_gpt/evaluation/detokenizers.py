"""Text as it was before a benchmark's authors cut it into words, and back, without loss.

Benchmarks of language modelling come tokenised: ` He said , " don 't ! " `. A model of running
text finds that unlikely for reasons of form alone, so the GPT-2 paper undoes it by rules that can
be inverted (section 3.1): a probability of the running text is then one of the original.

Here that holds by construction. Tokens are joined only where `tokenise` parts them again; a token
that it would part although it is one, and a line without its usual spaces, is marked by U+2060,
which shows nothing.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

MARK = "\u2060"

OPENING = frozenset("([{$£€¥₱₩#“")
HEADING = "="
CLOSING = frozenset(",;:!?)]}%”…")
APOSTROPHE = "'"
QUOTES = frozenset(('"', APOSTROPHE))
ELLIPSIS = "..."
FULL_STOP = "."
EN_DASH = "\u2013"

# A dot that stays with what is before it: initials, and shortened words.
_ABBREVIATION = re.compile(
    r"(?:[^\W\d_]\.)+|(?:Mr|Mrs|Ms|Dr|St|Jr|Sr|No|Nos|Col|Gen|Lt|Sgt|Capt|Maj|Prof|Rev|Gov|Sen|Rep|Hon|"
    r"Inc|Ltd|Co|Corp|Bros|vs|pp|cf|etc|Jan|Feb|Aug|Sept|Oct|Nov|Dec|Mass|Conn|Calif|Fla|Pa|Va|"
    r"mr|mrs|ms|dr|st|jr|sr|no|inc|co|corp)\."
)


@dataclass(frozen=True)
class Detokenizer:
    """The conventions of one tokenised text, and both directions between it and running text.

    Attributes:
        infixes: tokens inside of a word: the token, its character there, and the expression that
            finds the character again.
        suffix: expression of the places, of no width, where a word's last token begins.
        opening: characters that belong to the word after them.
        closing: characters that belong to the word before them.
        quotes: characters that open and close in turn.
        full_stop: a sentence's dot is a token.
        padded: lines begin and end with a space.
    """

    infixes: tuple[tuple[str, str, str], ...]
    suffix: str
    opening: frozenset[str] = OPENING
    closing: frozenset[str] = CLOSING
    quotes: frozenset[str] = QUOTES
    full_stop: bool = True
    padded: bool = False

    def detokenise(self, text: str) -> str:
        """Running text from tokens with a space between them, line by line."""
        return "".join(self._detokenise_line(*line) for line in _lines(text))

    def tokenise(self, text: str) -> str:
        """The inverse: `tokenise(detokenise(text)) == text`, for any text."""
        return "".join(self._tokenise_line(*line) for line in _lines(text))

    def _detokenise_line(self, body: str, ending: str) -> str:
        marked = MARK + MARK + body + ending
        tokens = body.split(" ")
        if self.padded:
            if body == " ":
                tokens = [""]
            elif len(body) > 2 and tokens[0] == tokens[-1] == "":
                tokens = tokens[1:-1]
            else:
                return marked
        running = " ".join(self._joined(tokens)) + ending
        return running if running and not running.startswith(MARK + MARK) else marked

    def _tokenise_line(self, body: str, ending: str) -> str:
        if body.startswith(MARK + MARK):
            return body[2:] + ending
        tokens = " ".join(token for word in body.split(" ") for token in self._parted(word))
        if self.padded:
            tokens = f" {tokens} " if tokens else " "
        return tokens + ending

    def _joined(self, tokens: list[str]) -> Iterator[str]:
        """Words of running text, each of one token or more."""
        word: list[str] = []
        open_quotes: set[str] = set()
        joins_next = False
        place = 0
        while place < len(tokens):
            token = tokens[place]
            is_infix = token in self._characters and place + 1 < len(tokens)
            unit = tokens[place : place + 1 + is_infix]
            joins = joins_next or is_infix or self._belongs_before(token, word)
            joins_next = token in self.opening
            if token in self.quotes and not (token == APOSTROPHE and joins):
                joins = joins or token in open_quotes
                joins_next = token not in open_quotes
                open_quotes ^= {token}
            longer = [*word, *unit]
            if word and joins and self._parted(self._written(longer)) == longer:
                word = longer
                place += len(unit)
                continue
            if word:
                yield self._finished(word)
            word = [token]
            place += 1
        yield self._finished(word)

    def _belongs_before(self, token: str, word: list[str]) -> bool:
        if token == HEADING:
            return bool(word) and word[-1] == HEADING
        if token in self.closing or token == ELLIPSIS:
            return True
        if token == FULL_STOP:
            return self.full_stop
        if token == APOSTROPHE:  # of a plural's genitive
            return bool(word) and word[-1].endswith("s")
        return token in ("n't", "N'T") or re.match(r"'\w", token) is not None

    def _written(self, tokens: list[str]) -> str:
        first, *middle, last = tokens
        return first + "".join(self._characters.get(token, token) for token in middle) + last

    def _finished(self, tokens: list[str]) -> str:
        if len(tokens) == 1 and self._parted(tokens[0]) != tokens:
            return MARK + tokens[0]
        return "".join(tokens) if len(tokens) == 1 else self._written(tokens)

    def _parted(self, word: str) -> list[str]:
        """The tokens of a word of running text."""
        if word.startswith(MARK):
            return [word[1:]]
        before, after = [], []
        while len(word) > 1 and (word[0] in self.opening | self.quotes or word[0] == HEADING):
            before.append(word[0])
            word = word[1:]
        while len(word) > 1 and (n := self._length_of_end(word)):
            after.append(word[-n:])
            word = word[:-n]
        inside = []
        start = 0
        for match in self._inner.finditer(word):
            inside.append(word[start : match.start()])
            if match.lastindex:
                inside.append(self.infixes[match.lastindex - 1][0])
            start = match.end()
        return [*before, *inside, word[start:], *reversed(after)]

    def _length_of_end(self, word: str) -> int:
        """Characters of the token that ends the word, 0 where the word is one token."""
        if word.endswith(ELLIPSIS):
            return 3 if len(word) > 3 else 0
        if word[-1] in self.closing or word[-1] in self.quotes:
            return 1
        ends_sentence = (
            word[-1] == FULL_STOP and self.full_stop and not _ABBREVIATION.fullmatch(word)
        )
        return int(ends_sentence)

    @cached_property
    def _characters(self) -> dict[str, str]:
        return {token: character for token, character, _ in self.infixes}

    @cached_property
    def _inner(self) -> re.Pattern[str]:
        found = [f"({pattern})" for _, _, pattern in self.infixes]
        return re.compile("|".join([*found, self.suffix]))


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Each line and its end, which is a newline but for the last, where there may be none."""
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        body = line.removesuffix("\n")
        yield body, line[len(body) :]


WIKITEXT = Detokenizer(
    infixes=(
        ("@-@", "-", r"(?<=\w)-(?=\w)"),
        ("@,@", ",", r"(?<=\d),(?=\d)"),
        ("@.@", ".", r"(?<=\d)\.(?=\d)"),
        ("/", "/", r"(?<=\w)/(?=\w)"),
        (EN_DASH, EN_DASH, rf"(?<=\d){EN_DASH}(?=\d)"),
    ),
    suffix=r"(?<=[\w>])(?='\w)",  # also after <unk>
    padded=True,
)
"""WikiText-2 and WikiText-103 (Merity et al. 2016), whose tokeniser was Moses'."""

_PENN_SUFFIX = r"(?<=[^\W\d_])(?=n't$)|(?<=[\w>])(?='(?:s|re|ve|m|ll|d)$)|(?<=[A-Z])(?='S$|N'T$)"

PTB = Detokenizer(
    infixes=(),
    suffix=_PENN_SUFFIX,
    opening=frozenset("$#"),
    closing=frozenset("%"),
    quotes=frozenset(),
    full_stop=False,
)
"""Penn Treebank as Mikolov et al. (2011) published it: no punctuation, small letters."""

ONE_BILLION_WORDS = Detokenizer(infixes=(("/", "/", r"(?<=\w)/(?=\w)"),), suffix=_PENN_SUFFIX)
"""The One Billion Word benchmark (Chelba et al. 2013)."""
