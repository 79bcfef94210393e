"""A tokenizer: text to token ids and back, as a `tokenizer.json`.

Byte-level BPE and vocabularies of characters and of words use the same class and file format.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from webtext_gpt.errors import UserError
from webtext_gpt.files import read_text
from webtext_gpt.tokenizer.byte_level import BYTE_OF_LETTER

END_OF_TEXT = "<|endoftext|>"

LONGEST_SHOWN = 40
"""Maximum characters of an unknown word that a message shows."""


class EncodingError(UserError):
    """A text that the tokenizer cannot encode."""


class Tokenizer:
    """Convert text to token ids and back.

    Args:
        backend: a `tokenizers.Tokenizer` whose vocabulary holds `<|endoftext|>`.

    Attributes:
        end_of_text: id of `<|endoftext|>`.
        vocab_size: highest id + 1, counting `<|endoftext|>`.

    Raises:
        UserError: `<|endoftext|>` is not in the vocabulary.
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        end_of_text = backend.token_to_id(END_OF_TEXT)
        if end_of_text is None:
            raise UserError(f"the tokenizer's vocabulary lacks {END_OF_TEXT}")
        # `<|endoftext|>` inside a document is ordinary text, not the end of the document.
        backend.encode_special_tokens = True
        self._backend = backend
        self.end_of_text: int = end_of_text
        self.vocab_size: int = max(backend.get_vocab().values()) + 1

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text.

        Raises:
            EncodingError: the text holds a character or word that is not in a vocabulary of
                characters or words, or half of a surrogate pair, which UTF-8 cannot encode.
        """
        return self.encode_batch([text])[0].tolist()

    def encode_batch(self, texts: list[str]) -> list[npt.NDArray[np.uint32]]:
        """Return the token ids of each text, computed on all cores; raises as `encode` does."""
        try:
            encodings = self._backend.encode_batch_fast(texts, add_special_tokens=False)
        except Exception as error:  # the backend raises plain Exception and TypeError
            raise EncodingError(self._encoding_problem(texts, error)) from error
        return [np.array(e.ids, dtype=np.uint32) for e in encodings]

    def starts(self, text: str) -> npt.NDArray[np.int64]:
        """Return the position of each token's first character in a text, in characters."""
        offsets = self._backend.encode(text, add_special_tokens=False).offsets
        return np.array([start for start, _ in offsets], dtype=np.int64)

    def _encoding_problem(self, texts: list[str], error: Exception) -> str:
        for text in texts:
            try:
                text.encode()
            except UnicodeEncodeError as bad:
                return f"character {bad.start} is half of a surrogate pair and has no UTF-8 bytes"
            if isinstance(self._backend.model, models.WordLevel):
                known = self._backend.get_vocab().keys() - {END_OF_TEXT}
                by_word = isinstance(self._backend.pre_tokenizer, pre_tokenizers.WhitespaceSplit)
                unit, parts = ("word", text.split()) if by_word else ("character", text)
                for position, part in enumerate(parts):
                    if part not in known:
                        return (
                            f"{unit} {position}, {part[:LONGEST_SHOWN]!r}, is not one of the "
                            f"{len(known)} {unit}s of this vocabulary"
                        )
        return f"the tokenizer refused the text: {error}"

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of token ids; bytes that are not UTF-8 become U+FFFD."""
        return self._backend.decode([int(i) for i in ids], skip_special_tokens=False)

    def decode_batch(self, sequences: Iterable[Iterable[int]]) -> list[str]:
        """Return the text of each sequence, as `decode` does, computed on all cores."""
        ids = [[int(i) for i in sequence] for sequence in sequences]
        return self._backend.decode_batch(ids, skip_special_tokens=False)

    def incremental_decoder(self) -> Callable[[int], str]:
        """Return a function that takes the next id and returns the text that it completes.

        For a token that ends within a character, the function returns an empty string; the token
        that completes the character returns it.
        """
        stream = decoders.DecodeStream(skip_special_tokens=False)
        return lambda token: stream.step(self._backend, token) or ""

    def token_id(self, token: str) -> int | None:
        """Return a token's id, or None if the vocabulary lacks it."""
        return self._backend.token_to_id(token)

    def token_bytes(self, token: int) -> bytes:
        """Return the UTF-8 bytes that a token stands for in a text; none for a special token."""
        added = self._backend.get_added_tokens_decoder().get(token)
        if added is not None:
            return b"" if added.special else added.content.encode()
        name = self._backend.id_to_token(token) or ""
        if isinstance(self._backend.decoder, decoders.ByteLevel):
            return bytes(BYTE_OF_LETTER[letter] for letter in name)
        return name.encode()

    def tokens(self) -> dict[str, int]:
        """Return the id of every token, special tokens included."""
        return self._backend.get_vocab()

    def with_tokens(self, tokens: Sequence[str]) -> "Tokenizer":
        """Return a copy with additional special tokens, as a fine-tuned model needs.

        New tokens take the next ids; existing ones are kept. No text is ever encoded to them.
        """
        backend = tokenizers.Tokenizer.from_str(self._backend.to_str())
        backend.add_special_tokens(list(tokens))
        return Tokenizer(backend)

    @property
    def hash(self) -> str:
        """SHA-256 of the vocabulary and rules; tokenizers with equal hashes give equal ids."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """Return the tokenizer in the format of `tokenizer.json`, with sorted keys."""
        return json.dumps(json.loads(self._backend.to_str()), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Make a tokenizer from the result of `to_json`."""
        return cls(tokenizers.Tokenizer.from_str(text))

    def save(self, path: str | Path) -> None:
        """Write `tokenizer.json`, which Hugging Face libraries can read."""
        Path(path).write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a file that `save` wrote.

        Raises:
            UserError: the file is not a tokenizer.
        """
        text = read_text(path)
        try:
            return cls.from_json(text)
        except Exception as error:  # the backend raises plain Exception
            raise UserError(f"{path} is not a tokenizer.json: {error}") from error
