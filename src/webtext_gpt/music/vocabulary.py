"""Music as text: words between single spaces, one token each, and what an encoding provides."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import tokenizers
from tokenizers import models, pre_tokenizers

from webtext_gpt.music.notes import Note
from webtext_gpt.tokenizer import END_OF_TEXT, Tokenizer


class Encoding(ABC):
    """A correspondence between notes and words.

    Attributes:
        name: its name, as messages give it.
        words: all of its words, in the order of their token ids.
        note_unit: the unit counted as one note in "nats a note".
        voice_names: names of the voices, if they have some.
    """

    name: str
    words: tuple[str, ...]
    note_unit: str
    voice_names: tuple[str, ...] = ()

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of its words."""
        return word_tokenizer(self.words)

    @abstractmethod
    def from_midi(self, path: Path) -> list[str]:
        """Return the words of a MIDI file.

        Raises:
            UserError: the file is no MIDI file, or has no notes that the encoding can express.
        """

    @abstractmethod
    def to_notes(self, words: Sequence[str]) -> list[list[Note]]:
        """Return the notes of each voice; the words may break off anywhere.

        Raises:
            UserError: the words contradict the grammar; the message names the first that does.
        """

    @abstractmethod
    def is_note(self, word: str) -> bool:
        """Return whether a word counts as a note, in the sense of `note_unit`."""


def word_tokenizer(words: Sequence[str]) -> Tokenizer:
    """Return a tokenizer with one id per word, in order, and `<|endoftext|>` as the last id.

    Decoding joins words by single spaces. Other words cannot be encoded.
    """
    backend = tokenizers.Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, ""))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens([END_OF_TEXT])
    return Tokenizer(backend)


def encoding_of(tokenizer: Tokenizer) -> Encoding | None:
    """Return the encoding whose words a tokenizer has, or None if it is one of text."""
    # Both import this module.
    from webtext_gpt.music.events import PERFORMANCE
    from webtext_gpt.music.grid import CHORALE

    tokens = tokenizer.tokens()
    for encoding in (PERFORMANCE, CHORALE):
        if tokens == encoding.tokenizer.tokens():
            return encoding
    return None
