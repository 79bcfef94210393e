"""Byte-level BPE as GPT-2 has it (Radford et al. 2019, section 2.2): train, load, save.

Text is cut by GPT-2's expression into pieces of one character category (one space may lead);
each piece is mapped to its UTF-8 bytes, and bytes are merged within a piece only. Every string
has an encoding, and decoding gives back exactly that string.

A character vocabulary lives in the same file format, for models of single characters.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

from webtext_gpt.errors import UserError

END_OF_TEXT = "<|endoftext|>"
GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
N_BYTES = 256


class Tokenizer:
    """Token ids from text and back.

    Args:
        backend: a `tokenizers.Tokenizer` that holds `<|endoftext|>`.

    Raises:
        UserError: `<|endoftext|>` is not in the vocabulary.
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        end_of_text = backend.token_to_id(END_OF_TEXT)
        if end_of_text is None:
            raise UserError(f"the tokenizer's vocabulary lacks {END_OF_TEXT}")
        # `<|endoftext|>` written in a document is text, not the end of a document.
        backend.encode_special_tokens = True
        self._backend = backend
        self.end_of_text: int = end_of_text
        self.vocab_size: int = max(backend.get_vocab().values()) + 1
        """One above the highest id, `<|endoftext|>`'s included."""

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`.

        Raises:
            UserError: the text cannot be encoded: a character outside a character vocabulary,
                or half of a surrogate pair, which UTF-8 cannot express.
        """
        return self.encode_batch([text])[0].tolist()

    def encode_batch(self, texts: list[str]) -> list[np.ndarray]:
        """Token ids of each text, on all cores. Raises as `encode` does."""
        try:
            encodings = self._backend.encode_batch_fast(texts, add_special_tokens=False)
        except Exception as error:  # the backend raises plain Exception and TypeError
            raise UserError(self._why_not(texts, error)) from error
        return [np.array(e.ids, dtype=np.uint32) for e in encodings]

    def _why_not(self, texts: list[str], error: Exception) -> str:
        for text in texts:
            try:
                text.encode()
            except UnicodeEncodeError as bad:
                return f"character {bad.start} is half of a surrogate pair and has no UTF-8 bytes"
            if isinstance(self._backend.model, models.WordLevel):
                known = self._backend.get_vocab()
                for position, character in enumerate(text):
                    if character not in known:
                        return (
                            f"character {position}, {character!r}, is not among the "
                            f"{self.vocab_size - 1} of this character vocabulary"
                        )
        return f"the tokenizer refused the text: {error}"

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids; bytes that are not UTF-8 show as U+FFFD."""
        return self._backend.decode([int(i) for i in ids], skip_special_tokens=False)

    def decode_batch(self, sequences: Iterable[Iterable[int]]) -> list[str]:
        """`decode` of each sequence, on all cores."""
        ids = [[int(i) for i in sequence] for sequence in sequences]
        return self._backend.decode_batch(ids, skip_special_tokens=False)

    def incremental_decoder(self) -> Callable[[int], str]:
        """A function that takes one id after another and returns the text that each completes.

        A token that ends within a character completes nothing; the next one brings it.
        """
        stream = tokenizers.decoders.DecodeStream(skip_special_tokens=False)
        return lambda token: stream.step(self._backend, token) or ""

    def token_id(self, token: str) -> int | None:
        """The id of a token by its name in the vocabulary; `None` if there is no such token."""
        return self._backend.token_to_id(token)

    def with_tokens(self, tokens: Sequence[str]) -> "Tokenizer":
        """A copy with further tokens, as a fine-tuned model needs; those that exist stay.

        They take the next ids. No text encodes to them, whatever is written in it.
        """
        backend = tokenizers.Tokenizer.from_str(self._backend.to_str())
        backend.add_special_tokens(list(tokens))
        return Tokenizer(backend)

    @property
    def hash(self) -> str:
        """SHA-256 of the vocabulary and rules: equal hashes give equal ids."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """The whole tokenizer in the format of `tokenizer.json`, keys sorted."""
        return json.dumps(json.loads(self._backend.to_str()), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`."""
        return cls(tokenizers.Tokenizer.from_str(text))

    def save(self, path: str | Path) -> None:
        """Write `tokenizer.json`, which Hugging Face libraries read too."""
        Path(path).write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            UserError: the file is not a tokenizer.
        """
        text = read_text(path)
        try:
            return cls.from_json(text)
        except Exception as error:  # the backend raises plain Exception
            raise UserError(f"{path} is not a tokenizer.json: {error}") from error


def train_bpe(texts: Iterable[str], vocab_size: int, show_progress: bool = False) -> Tokenizer:
    """Learn a byte-level BPE of `vocab_size` ids, 256 bytes and `<|endoftext|>` among them.

    The same texts give the same vocabulary. Ids are ordered as GPT-2's are: bytes, merges,
    `<|endoftext|>`. Fewer ids come back when the texts offer no more merges.

    Raises:
        UserError: `vocab_size` cannot hold the bytes and `<|endoftext|>`.
    """
    if vocab_size < N_BYTES + 1:
        raise UserError(
            f"tokenizer.vocab_size={vocab_size} cannot hold {N_BYTES} bytes and {END_OF_TEXT}; "
            f"give at least {N_BYTES + 1}"
        )
    backend = _byte_level(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 1,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=show_progress,
    )
    backend.train_from_iterator(texts, trainer)
    backend.add_special_tokens([END_OF_TEXT])
    return Tokenizer(backend)


def from_gpt2_files(vocab: str | Path, merges: str | Path) -> Tokenizer:
    """GPT-2's own vocabulary (`encoder.json`) and merges (`vocab.bpe`).

    Raises:
        UserError: a file is not what its name says.
    """
    pairs = read_merges(merges)
    try:
        backend = _byte_level(models.BPE(json.loads(read_text(vocab)), pairs))
    except Exception as error:  # the backend raises plain Exception
        raise UserError(f"{vocab} and {merges} are not a BPE vocabulary: {error}") from error
    backend.add_special_tokens([END_OF_TEXT])
    return Tokenizer(backend)


def read_merges(path: str | Path) -> list[tuple[str, str]]:
    """The pairs of a file of merges, in order.

    Raises:
        UserError: a line is not two tokens.
    """
    lines = [line.removesuffix("\r") for line in read_text(path).split("\n")]
    pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    for number, pair in enumerate(pairs):
        if len(pair) != 2:
            raise UserError(f"{path}: merge {number} is {' '.join(pair)!r}, not two tokens")
    return [(left, right) for left, right in pairs]


def load_gpt2(path: str | Path) -> Tokenizer:
    """GPT-2's tokenizer from a folder, from a `tokenizer.json`, or from the hub by name.

    A folder may hold OpenAI's names (`encoder.json`, `vocab.bpe`), Hugging Face's (`vocab.json`,
    `merges.txt`) or `tokenizer.json`.

    Raises:
        UserError: nothing of that kind is there, or the hub cannot be reached.
    """
    folder = Path(path)
    if folder.is_file():
        return Tokenizer.load(folder)
    if folder.is_dir():
        for vocab, merges in (("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt")):
            if (folder / vocab).is_file() and (folder / merges).is_file():
                return from_gpt2_files(folder / vocab, folder / merges)
        if (folder / "tokenizer.json").is_file():
            return Tokenizer.load(folder / "tokenizer.json")
        raise UserError(
            f"{folder} holds neither encoder.json with vocab.bpe, nor vocab.json with "
            "merges.txt, nor tokenizer.json"
        )
    from huggingface_hub import hf_hub_download

    try:
        return Tokenizer.load(hf_hub_download(str(path), "tokenizer.json"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"tokenizer.path={path} is no folder here, and the hub did not give it ({error}); "
            "name a folder with encoder.json and vocab.bpe"
        ) from error


def build_char_vocabulary(texts: Iterable[str]) -> Tokenizer:
    """One id for each distinct character of the texts, in code point order."""
    characters = sorted(set().union(*texts))
    backend = tokenizers.Tokenizer(models.WordLevel({c: i for i, c in enumerate(characters)}, ""))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    backend.decoder = decoders.Fuse()
    backend.add_special_tokens([END_OF_TEXT])
    return Tokenizer(backend)


def _byte_level(model: models.Model) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(GPT2_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    return backend


def read_text(path: str | Path) -> str:
    """The text of a UTF-8 file, newlines untouched.

    Raises:
        UserError: a byte is not UTF-8; the message gives its position.
    """
    data = Path(path).read_bytes()
    try:
        return data.decode("utf-8").removeprefix("\ufeff")  # a byte order mark is no text
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8: byte {data[error.start]:#04x} at position {error.start}; "
            "convert it, for instance with iconv -f latin1 -t utf-8"
        ) from error
