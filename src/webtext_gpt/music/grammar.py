"""Grammars of music: the words that may come next in a piece, so that every sample is valid.

A grammar follows one piece, word by word. It allows only words that the encoding writes itself, in
the order in which it writes them, so the file of a finished sample gives the same words again. A
piece has at least one note, and no note lasts longer than eight beats.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor

from webtext_gpt.music.events import LONGEST_SHIFT, N_VELOCITIES, PERFORMANCE
from webtext_gpt.music.grid import BEAT, CHORALE, RANGES, SIXTEENTHS_PER_BEAT
from webtext_gpt.music.midi import WRITTEN_QUARTER
from webtext_gpt.music.notes import N_PITCHES, TICKS_PER_SECOND
from webtext_gpt.music.vocabulary import Encoding

LONGEST_NOTE_BEATS = 8
LONGEST_NOTE_TICKS = LONGEST_NOTE_BEATS * WRITTEN_QUARTER * TICKS_PER_SECOND // 1_000_000
"""Longest note of a performance: 4.8 s, eight beats at the tempo of the files that are written."""
LONGEST_NOTE_SIXTEENTHS = LONGEST_NOTE_BEATS * SIXTEENTHS_PER_BEAT
"""Longest note of a chorale."""


class Grammar(ABC):
    """The grammar of one piece, from its beginning to the newest word.

    Args:
        encoding: the encoding of the words; a token is the index of its word, and the id after the
            last word ends the piece.
    """

    def __init__(self, encoding: Encoding) -> None:
        self._words = encoding.words
        self._end_of_text = encoding.tokenizer.end_of_text

    def add(self, token: int) -> bool:
        """Add the next token of the piece, and return whether it ends the piece.

        Words of a given piece may break the rules of `allowed`, such as those of a long note.
        """
        if token == self._end_of_text:
            return True
        self._add(self._words[token])
        return False

    def allowed(self) -> Tensor:
        """Return booleans `(vocab_size,)`: the tokens that may come next. There is at least one."""
        tokens = list(self._allowed())
        if self._may_end():
            tokens.append(self._end_of_text)
        mask = torch.zeros(len(self._words) + 1, dtype=torch.bool)
        mask[tokens] = True
        return mask

    @abstractmethod
    def _add(self, word: str) -> None:
        """Add the next word."""

    @abstractmethod
    def _allowed(self) -> Iterable[int]:
        """Return the tokens that may come next, without the one that ends the piece."""

    @abstractmethod
    def _may_end(self) -> bool:
        """Return whether the piece may end here."""


class PerformanceGrammar(Grammar):
    """The grammar of a performance.

    Within a tick, notes end before others begin, each in order of pitch. Only a sounding pitch
    ends, and only a silent one begins. A velocity word changes the velocity, and a note follows it.
    A silence is as few shifts as possible. A note that has reached its maximum length ends first.
    """

    def __init__(self) -> None:
        super().__init__(PERFORMANCE)
        self._on = self._tokens("on", range(N_PITCHES))
        self._off = self._tokens("off", range(N_PITCHES))
        self._shifts = self._tokens("shift", range(1, LONGEST_SHIFT + 1))
        self._velocities = self._tokens("vel", range(N_VELOCITIES))
        self._now = 0
        self._starts: dict[int, int] = {}  # start of each sounding pitch, in ticks
        self._level: int | None = None
        self._ended = -1  # highest pitch that has ended in this tick
        self._begun: int | None = None  # highest pitch that has begun in this tick
        self._last = ""  # kind of the newest word
        self._shift = LONGEST_SHIFT  # ticks of the newest shift since the newest note

    def _add(self, word: str) -> None:
        kind = word.rstrip("0123456789")
        value = int(word[len(kind) :])
        if kind == "shift":
            self._now += value
            self._ended, self._begun, self._shift = -1, None, value
        elif kind == "vel":
            self._level = value
        else:
            self._shift = LONGEST_SHIFT
            if kind == "on":
                self._starts[value] = self._now
                self._begun = value
            else:
                del self._starts[value]
                self._ended = value
        self._last = kind

    def _tokens(self, kind: str, values: Iterable[int]) -> list[int]:
        return [self._words.index(f"{kind}{value}") for value in values]

    def _allowed(self) -> Iterable[int]:
        oldest = self._now - min(self._starts.values(), default=self._now)  # ticks
        if oldest >= LONGEST_NOTE_TICKS:
            yield from self._offs()
            return
        silent = [
            pitch
            for pitch in range(0 if self._begun is None else self._begun + 1, N_PITCHES)
            if pitch not in self._starts
        ]
        if self._level is not None:
            yield from (self._on[pitch] for pitch in silent)
        if self._last == "vel":
            return
        if silent:
            yield from (v for level, v in enumerate(self._velocities) if level != self._level)
        if self._begun is None:
            yield from self._offs()
        if self._shift == LONGEST_SHIFT:
            yield from self._shifts[: LONGEST_NOTE_TICKS - oldest]

    def _offs(self) -> Iterable[int]:
        """Yield the ends of notes that may come next: up to the lowest pitch that has to end."""
        for pitch in sorted(self._starts):
            if pitch > self._ended:
                yield self._off[pitch]
            if self._now - self._starts[pitch] >= LONGEST_NOTE_TICKS:
                return

    def _may_end(self) -> bool:
        return self._last == "off" and not self._starts


class ChoraleGrammar(Grammar):
    """The grammar of a chorale: `beat`, then four times a pitch or a rest of each voice.

    It ends with a whole beat, and not with a rest of all voices.
    """

    def __init__(self) -> None:
        super().__init__(CHORALE)
        self._n_words = 0
        self._held = {voice: (f"{voice}-", 0) for voice in RANGES}  # word, how often in a row
        self._cycle = [BEAT, *(voice for _ in range(SIXTEENTHS_PER_BEAT) for voice in RANGES)]
        self._choices = {
            place: [token for token, word in enumerate(self._words) if word.startswith(place)]
            for place in (BEAT, *RANGES)
        }

    def _add(self, word: str) -> None:
        self._n_words += 1
        if word == BEAT:
            return
        before, times = self._held[word[0]]
        self._held[word[0]] = word, times + 1 if word == before else 1

    def _allowed(self) -> Iterable[int]:
        place = self._cycle[self._n_words % len(self._cycle)]
        choices = self._choices[place]
        held, times = self._held.get(place, ("", 0))
        if times < LONGEST_NOTE_SIXTEENTHS or _is_rest(held):
            return choices
        return [token for token in choices if self._words[token] != held]

    def _may_end(self) -> bool:
        is_whole = self._n_words % len(self._cycle) == 0
        return is_whole and not all(_is_rest(word) for word, _ in self._held.values())


def _is_rest(word: str) -> bool:
    return word.endswith("-")


def grammar_of(encoding: Encoding) -> Grammar:
    """Return the grammar of a new piece in an encoding."""
    return PerformanceGrammar() if encoding is PERFORMANCE else ChoraleGrammar()
