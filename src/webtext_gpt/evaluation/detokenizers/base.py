"""Reversible conversion between a benchmark's tokens and running text."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from enum import Flag, auto

MARK = "\u2060"
"""U+2060, the word joiner, which is invisible. Before a word, it makes the word one token; twice
at the beginning of a line, it keeps the line as it is."""


class Side(Flag):
    """The sides on which a token is joined to its neighbor in running text."""

    NONE = 0
    LEFT = auto()
    RIGHT = auto()
    BOTH = LEFT | RIGHT


class Detokenizer(ABC):
    """One benchmark's tokenization conventions.

    A subclass states how a word of running text is split, and which tokens it would like to
    join. Only joins that `split` undoes are made, so `tokenize(detokenize(text)) == text` holds
    for every text, whatever the subclass does.
    """

    padded = False
    """Whether lines begin and end with a space."""

    @abstractmethod
    def split(self, word: str, following: str) -> list[str]:
        """Return the tokens of a word of running text.

        Args:
            word: running text without spaces; not empty.
            following: the next word of the line, empty at its end.
        """

    @abstractmethod
    def sides(self, tokens: Sequence[str]) -> list[Side]:
        """Return the sides on which each token of a line should be joined."""

    def spell(self, tokens: Sequence[str]) -> str:
        """Return the running text of tokens that are written without spaces."""
        return "".join(tokens)

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
        running = " ".join(self._join(tokens)) + ending
        return running if running and not running.startswith(MARK + MARK) else marked

    def _tokenize_line(self, body: str, ending: str) -> str:
        if body.startswith(MARK + MARK):
            return body[2:] + ending
        words = body.split(" ")
        pairs = zip(words, [*words[1:], ""], strict=True)
        tokens = " ".join(token for pair in pairs for token in self._tokens(*pair))
        if self.padded:
            tokens = f" {tokens} " if tokens else " "
        return tokens + ending

    def _join(self, tokens: Sequence[str]) -> list[str]:
        """Return the words of a line of running text, each made of one or more tokens."""
        sides = self.sides(tokens)
        groups = [[tokens[0]]]
        for i in range(1, len(tokens)):
            wanted = Side.RIGHT in sides[i - 1] or Side.LEFT in sides[i]
            if wanted and tokens[i - 1] and tokens[i]:
                groups[-1].append(tokens[i])
            else:
                groups.append([tokens[i]])
        words: list[str] = []  # from the last to the first, because `split` sees the word after
        while groups:
            group = groups.pop()
            following = words[-1] if words else ""
            word = self.spell(group)
            split = self._tokens(word, following)
            if split == group:
                words.append(word)
            elif len(group) == 1:
                literal = self._tokens(group[0], following) == group
                words.append(group[0] if literal else MARK + group[0])
            else:  # part the tokens where the inverse first differs
                same = (ours == theirs for ours, theirs in zip(group, split, strict=False))
                cut = next((i for i, equal in enumerate(same) if not equal), len(split))
                cut = min(max(cut, 1), len(group) - 1)
                groups += [group[:cut], group[cut:]]
        return words[::-1]

    def _tokens(self, word: str, following: str) -> list[str]:
        if word.startswith(MARK):
            return [word[1:]]
        return self.split(word, following) if word else [""]


def count_marks(text: str) -> int:
    """Return the number of words and lines of detokenized text that carry a mark."""
    return len(re.findall(f"{MARK}+", text))


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Yield each line and its line end, which is a newline, or empty at the end of the text."""
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        body = line.removesuffix("\n")
        yield body, line[len(body) :]
