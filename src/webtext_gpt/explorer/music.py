"""Compute the page's views of a model of music: a piece's notes with their tokens, and its end."""

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from webtext_gpt.checkpoint.load import LoadedModel
from webtext_gpt.errors import UserError
from webtext_gpt.explorer.inspector import Inspector
from webtext_gpt.generation.music import compose
from webtext_gpt.generation.sampling import Sampling
from webtext_gpt.music.grid import CHORALE, SIXTEENTHS_PER_BEAT, TICKS
from webtext_gpt.music.notes import TICKS_PER_SECOND, Note
from webtext_gpt.music.vocabulary import Encoding
from webtext_gpt.settings import whole_number

MOST_NEW_WORDS = 512
"""Maximum words that the model writes for one request."""

Part = tuple[int, int, list[int]]
"""Part of a note: its start and end in ticks, and the indices of its words."""


class MusicInspector(Inspector):
    """Computes the page's views of a model of music, whose texts are words of an encoding.

    The model reads end-of-text before the words, as in training and in `generate`.

    Args:
        loaded: a language model, in evaluation mode, with its tokenizer.
        encoding: the encoding of its tokenizer.
    """

    def __init__(self, loaded: LoadedModel, encoding: Encoding) -> None:
        super().__init__(loaded)
        self.encoding = encoding
        self.views = ("piece", "compose", "midi", *self.views)

    def piece(self, text: str) -> dict[str, Any]:
        """Return the notes of a piece, and the tokens that make them.

        Args:
            text: words of the piece.

        Returns:
            `voices`, names of the voices, of which there may be none; `beat`, seconds of a beat,
            None if the encoding has no beats; and `notes`, each with its `voice` (an index),
            `start` and `end` in seconds, `pitch`, `velocity` and `parts`. A part has its `start`,
            `end` and `tokens`: indices among those that the model reads, none if the first one does
            not fit the context. A note of a chorale has one part per sixteenth, with one token; a
            note of a performance has one part, with the tokens that begin and end it.
        """
        ids = self._encoded(text)
        words = [self.encoding.words[token] for token in ids[1:]]
        voices = self.encoding.to_notes(words)
        is_chorale = self.encoding is CHORALE
        parts = _sixteenths(voices) if is_chorale else _events(words, voices[0])
        n_cut = max(0, len(ids) - self.model.config.block_size)
        first = 1 - n_cut  # end-of-text precedes the words
        return {
            "voices": list(self.encoding.voice_names),
            "beat": SIXTEENTHS_PER_BEAT * TICKS / TICKS_PER_SECOND if is_chorale else None,
            "notes": [
                {
                    "voice": voice,
                    "start": note.start / TICKS_PER_SECOND,
                    "end": note.end / TICKS_PER_SECOND,
                    "pitch": note.pitch,
                    "velocity": note.velocity,
                    "parts": [
                        {
                            "start": start / TICKS_PER_SECOND,
                            "end": end / TICKS_PER_SECOND,
                            "tokens": [at + first for at in of] if of[0] + first >= 0 else [],
                        }
                        for start, end, of in parts[voice, note]
                    ],
                }
                for voice, notes in enumerate(voices)
                for note in notes
            ],
        }

    def compose(
        self, text: str, n_words: int, seed: int, temperature: float = 1.0
    ) -> dict[str, Any]:
        """Return a piece and the model's continuation of it; see `generation.music.compose`.

        Args:
            text: words of the piece so far; none begin a new piece.
            n_words: number of words to write, if the model does not end the piece before.
            seed: random seed.
            temperature: see `generation.Sampling`.

        Returns:
            `text`, the whole piece; and `is_ended`, whether the model ended it.
        """
        whole_number("n_words", n_words, 1, MOST_NEW_WORDS)
        given = [self.encoding.words[token] for token in self._encoded(text)[1:]]
        with self._lock:
            [sample] = compose(
                self.model,
                self.encoding,
                given,
                seeds=[seed],
                max_new_tokens=n_words,
                sampling=Sampling(temperature=temperature),
            )
        return {"text": " ".join([*given, *sample.words]), "is_ended": sample.is_ended}

    def midi(self, name: str, data: bytes) -> dict[str, Any]:
        """Return the words of a MIDI file, as many as fit the context.

        Args:
            name: the file's name, for messages.
            data: its contents.

        Returns:
            `text`, the words; and `n_cut`, the number of words left out at the end.

        Raises:
            UserError: it is no MIDI file, or has no notes that the encoding can express.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "file.mid"
            path.write_bytes(data)
            try:
                words = self.encoding.from_midi(path)
            except UserError as error:
                raise UserError(str(error).replace(str(path), name)) from None
        most = self.model.config.block_size - 1  # after end-of-text
        return {"text": " ".join(words[:most]), "n_cut": max(0, len(words) - most)}

    def _encoded(self, text: str) -> list[int]:
        return [self.tokenizer.end_of_text, *super()._encoded(text)]


def _sixteenths(voices: Sequence[Sequence[Note]]) -> dict[tuple[int, Note], list[Part]]:
    """Return the parts of a chorale's notes by voice and note: one part per sixteenth."""
    n_voices = len(voices)
    parts: dict[tuple[int, Note], list[Part]] = defaultdict(list)
    for voice, notes in enumerate(voices):
        for note in notes:
            for sixteenth in range(note.start // TICKS, note.end // TICKS):
                beats = sixteenth // SIXTEENTHS_PER_BEAT + 1  # words `beat` up to here
                word = beats + sixteenth * n_voices + voice
                start = sixteenth * TICKS
                parts[voice, note].append((start, start + TICKS, [word]))
    return parts


def _events(words: Sequence[str], notes: Sequence[Note]) -> dict[tuple[int, Note], list[Part]]:
    """Return the parts of the notes of a performance, by voice and note: the note itself.

    Args:
        words: words of the performance, which follow the grammar.
        notes: the notes that `Encoding.to_notes` returns for them.
    """
    found: dict[tuple[int, int], list[int]] = defaultdict(list)  # by start and pitch
    starts: dict[int, int] = {}  # start of the newest note of each pitch
    now = 0
    for position, word in enumerate(words):
        kind = word.rstrip("0123456789")
        value = int(word[len(kind) :])
        if kind == "shift":
            now += value
        elif kind == "on":
            starts[value] = now
        if kind in ("on", "off"):
            found[starts[value], value].append(position)
    return {(0, note): [(note.start, note.end, found[note.start, note.pitch])] for note in notes}
