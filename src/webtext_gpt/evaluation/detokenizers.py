"""Reversible detokenizers: running text from a benchmark's tokens, and back, without loss.

Language modeling benchmarks are distributed as tokens, such as ` He said , " don 't ! " `. A model
trained on running text finds that format unlikely, so the GPT-2 paper removes it with invertible
detokenizers (section 3.1). Because they are invertible, the log-probability of the running text
is also a log-probability of the benchmark's text.

Here, `tokenize(detokenize(text)) == text` holds for every text by construction. Tokens are joined
only if `tokenize` splits them again. Two cases are marked with U+2060 (word joiner), which is
invisible: a token that `tokenize` would split, and a line without the usual spaces.
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

# Words that keep their final dot: initials and abbreviations.
_ABBREVIATION = re.compile(
    r"(?:[^\W\d_]\.)+|(?:Mr|Mrs|Ms|Dr|St|Jr|Sr|No|Nos|Col|Gen|Lt|Sgt|Capt|Maj|Prof|Rev|Gov|Sen|Rep|Hon|"
    r"Inc|Ltd|Co|Corp|Bros|vs|pp|cf|etc|Jan|Feb|Aug|Sept|Oct|Nov|Dec|Mass|Conn|Calif|Fla|Pa|Va|"
    r"mr|mrs|ms|dr|st|jr|sr|no|inc|co|corp)\."
)


@dataclass(frozen=True)
class Detokenizer:
    """The tokenization conventions of one benchmark, with both directions of the conversion.

    Attributes:
        infixes: tokens that stand inside a word, such as `@-@`. Each has three parts: the token,
            its character in running text, and a regular expression that finds the character.
        suffix: zero-width regular expression that matches where a suffix token such as `'s`
            begins.
        opening: characters that attach to the following word.
        closing: characters that attach to the preceding word.
        quotes: characters that alternate between opening and closing.
        full_stop: whether the full stop at the end of a sentence is a token.
        padded: whether lines begin and end with a space.
    """

    infixes: tuple[tuple[str, str, str], ...]
    suffix: str
    opening: frozenset[str] = OPENING
    closing: frozenset[str] = CLOSING
    quotes: frozenset[str] = QUOTES
    full_stop: bool = True
    padded: bool = False

    def detokenize(self, text: str) -> str:
        """Convert space-separated tokens to running text, line by line."""
        return "".join(self._detokenize_line(*line) for line in _lines(text))

    def tokenize(self, text: str) -> str:
        """Convert running text to tokens: `tokenize(detokenize(text)) == text` for every text."""
        return "".join(self._tokenize_line(*line) for line in _lines(text))

    def _detokenize_line(self, body: str, ending: str) -> str:
        marked = MARK + MARK + body + ending
        tokens = body.split(" ")
        if self.padded:
            if body == " ":
                tokens = [""]
            elif len(body) > 2 and tokens[0] == tokens[-1] == "":
                tokens = tokens[1:-1]
            else:
                return marked
        running = " ".join(self._join_tokens(tokens)) + ending
        return running if running and not running.startswith(MARK + MARK) else marked

    def _tokenize_line(self, body: str, ending: str) -> str:
        if body.startswith(MARK + MARK):
            return body[2:] + ending
        tokens = " ".join(token for word in body.split(" ") for token in self._split_word(word))
        if self.padded:
            tokens = f" {tokens} " if tokens else " "
        return tokens + ending

    def _join_tokens(self, tokens: list[str]) -> Iterator[str]:
        """Yield the words of running text, each made of one or more tokens."""
        word: list[str] = []
        open_quotes: set[str] = set()
        joins_next = False
        index = 0
        while index < len(tokens):
            token = tokens[index]
            is_infix = token in self._infix_characters and index + 1 < len(tokens)
            unit = tokens[index : index + 1 + is_infix]
            joins = joins_next or is_infix or self._joins_previous(token, word)
            joins_next = token in self.opening
            if token in self.quotes and not (token == APOSTROPHE and joins):
                joins = joins or token in open_quotes
                joins_next = token not in open_quotes
                open_quotes ^= {token}
            longer = [*word, *unit]
            if word and joins and self._split_word(self._spell(longer)) == longer:
                word = longer
                index += len(unit)
                continue
            if word:
                yield self._spell_or_mark(word)
            word = [token]
            index += 1
        yield self._spell_or_mark(word)

    def _joins_previous(self, token: str, word: list[str]) -> bool:
        if token == HEADING:
            return bool(word) and word[-1] == HEADING
        if token in self.closing or token == ELLIPSIS:
            return True
        if token == FULL_STOP:
            return self.full_stop
        if token == APOSTROPHE:  # the genitive of a plural
            return bool(word) and word[-1].endswith("s")
        return token in ("n't", "N'T") or re.match(r"'\w", token) is not None

    def _spell(self, tokens: list[str]) -> str:
        """Join two or more tokens, with infix tokens replaced by their characters."""
        first, *middle, last = tokens
        return first + "".join(self._infix_characters.get(token, token) for token in middle) + last

    def _spell_or_mark(self, tokens: list[str]) -> str:
        """Return the word of the tokens; a single token that would be split is marked."""
        if len(tokens) > 1:
            return self._spell(tokens)
        return tokens[0] if self._split_word(tokens[0]) == tokens else MARK + tokens[0]

    def _split_word(self, word: str) -> list[str]:
        """Return the tokens of a word of running text."""
        if word.startswith(MARK):
            return [word[1:]]
        before, after = [], []
        while len(word) > 1 and (word[0] in self.opening | self.quotes or word[0] == HEADING):
            before.append(word[0])
            word = word[1:]
        while len(word) > 1 and (n := self._final_token_length(word)):
            after.append(word[-n:])
            word = word[:-n]
        inside = []
        start = 0
        for match in self._inner_boundaries.finditer(word):
            inside.append(word[start : match.start()])
            if match.lastindex:
                inside.append(self.infixes[match.lastindex - 1][0])
            start = match.end()
        return [*before, *inside, word[start:], *reversed(after)]

    def _final_token_length(self, word: str) -> int:
        """Return the length of the punctuation token that ends a word, or 0 if there is none."""
        if word.endswith(ELLIPSIS):
            return 3 if len(word) > 3 else 0
        if word[-1] in self.closing or word[-1] in self.quotes:
            return 1
        ends_sentence = (
            word[-1] == FULL_STOP and self.full_stop and not _ABBREVIATION.fullmatch(word)
        )
        return int(ends_sentence)

    @cached_property
    def _infix_characters(self) -> dict[str, str]:
        return {token: character for token, character, _ in self.infixes}

    @cached_property
    def _inner_boundaries(self) -> re.Pattern[str]:
        """Matches infixes, each in a separate group, and the beginnings of suffix tokens."""
        infixes = [f"({pattern})" for _, _, pattern in self.infixes]
        return re.compile("|".join([*infixes, self.suffix]))


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Yield each line and its line end, which is a newline, or empty at the end of the text."""
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
    suffix=r"(?<=[\w>])(?='\w)",  # `>` as in <unk>'s
    padded=True,
)
"""WikiText-2 and WikiText-103 (Merity et al. 2016), tokenized with the Moses tokenizer."""

_PENN_SUFFIX = r"(?<=[^\W\d_])(?=n't$)|(?<=[\w>])(?='(?:s|re|ve|m|ll|d)$)|(?<=[A-Z])(?='S$|N'T$)"

PTB = Detokenizer(
    infixes=(),
    suffix=_PENN_SUFFIX,
    opening=frozenset("$#"),
    closing=frozenset("%"),
    quotes=frozenset(),
    full_stop=False,
)
"""Penn Treebank as published by Mikolov et al. (2011): lower case, without punctuation."""

ONE_BILLION_WORDS = Detokenizer(infixes=(("/", "/", r"(?<=\w)/(?=\w)"),), suffix=_PENN_SUFFIX)
"""The One Billion Word benchmark (Chelba et al. 2013)."""
