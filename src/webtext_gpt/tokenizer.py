"""GPT-2's byte-level BPE (Radford et al. 2019, section 2.2): train, load, save.

GPT-2's pattern splits text into pieces of one character category, each with at most one leading
space. A piece is mapped to its UTF-8 bytes, and bytes are merged only within a piece. Every string
can be encoded, and decoding returns exactly that string.

Vocabularies of characters and of words use the same class and file format.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

from webtext_gpt.characters import character_classes
from webtext_gpt.errors import UserError
from webtext_gpt.files import read_text
from webtext_gpt.hub import hub_access, hub_problem, may_be_on_hub
from webtext_gpt.paths import absence, readable_path, shown
from webtext_gpt.progress import progress_bar
from webtext_gpt.terminal import say

END_OF_TEXT = "<|endoftext|>"
GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""GPT-2's pre-tokenization: contractions, letters, numbers, other characters, spaces."""

N_BYTES = 256
_PRINTED = [*range(33, 127), *range(161, 173), *range(174, 256)]
_BYTE_OF_LETTER = {chr(byte): byte for byte in _PRINTED} | {
    chr(N_BYTES + n): byte
    for n, byte in enumerate(byte for byte in range(N_BYTES) if byte not in _PRINTED)
}
"""The byte of each letter in the names of byte-level tokens (GPT-2's `bytes_to_unicode`)."""

LONGEST_TRAINED = 1000
"""Maximum characters of a piece, without its leading space, that a tokenizer is trained on."""


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
            return bytes(_BYTE_OF_LETTER[letter] for letter in name)
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


def train_bpe(texts: Iterable[str], vocab_size: int, show_progress: bool = False) -> Tokenizer:
    """Train a byte-level BPE of `vocab_size` ids, including 256 bytes and `<|endoftext|>`.

    The same texts give the same vocabulary. Ids have GPT-2's order: bytes, merges,
    `<|endoftext|>`. The vocabulary is smaller if the texts offer too few merges.

    The time and memory of training grow with the square of the longest piece, so a piece of more
    than `LONGEST_TRAINED` characters is cut, with a warning. English has none; a run of one letter
    or base64 without line breaks may be one.

    Raises:
        UserError: `vocab_size` is too small for the bytes and `<|endoftext|>`.
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
    cut = 0

    def bounded() -> Iterator[str]:
        nonlocal cut
        with progress_bar("reading text for the tokenizer", unit="B") as bar:
            for text in texts:
                ends = _cuts(text)
                cut += len(ends) > 1
                bar.update(len(text))
                for start, end in pairwise([0, *ends]):
                    yield text[start:end]
        size = f"{bar.n / 1e6:,.1f} MB" if bar.n >= 5e4 else f"{bar.n / 1e3:,.1f} kB"
        say(
            f"tokenizer   learning {vocab_size:,} ids from {size} of text, "
            f"which takes {_how_long(bar.n)}"
        )

    backend.train_from_iterator(bounded(), trainer)
    if cut:
        say(
            f"warning: documents with a run of more than {LONGEST_TRAINED:,} letters, digits, "
            f"spaces or other characters: {cut:,}; the tokenizer is trained on parts of "
            f"{LONGEST_TRAINED:,}",
            sys.stderr,
        )
    backend.add_special_tokens([END_OF_TEXT])
    return Tokenizer(backend)


def _how_long(size: float) -> str:
    """Return roughly how long merges take; on two cores, 5 s for 28 MB of novels."""
    return "some seconds" if size < 5e7 else "up to a minute" if size < 3e8 else "some minutes"


def _cuts(text: str) -> list[int]:
    """Return where to cut a text so that no piece is too long, and the text's end."""
    if len(text) <= LONGEST_TRAINED:
        return [len(text)]
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    edges = np.flatnonzero(np.diff(character_classes()[points])) + 1
    starts, ends = np.append(0, edges), np.append(edges, len(text))  # bounds of runs of one class
    long = ends - starts > LONGEST_TRAINED
    cuts = [
        cut
        for start, end in zip(starts[long], ends[long], strict=True)
        for cut in range(start + LONGEST_TRAINED, end, LONGEST_TRAINED)
    ]
    return [*cuts, len(text)]


def from_gpt2_files(vocab: str | Path, merges: str | Path) -> Tokenizer:
    """Make a tokenizer from OpenAI's vocabulary (`encoder.json`) and merges (`vocab.bpe`).

    Raises:
        UserError: the files are not a BPE vocabulary and its merges.
    """
    pairs, text = read_merges(merges), read_text(vocab)
    try:
        backend = _byte_level(models.BPE(json.loads(text), pairs))
    except Exception as error:  # the backend raises plain Exception
        raise UserError(f"{vocab} and {merges} are not a BPE vocabulary: {error}") from error
    backend.add_special_tokens([END_OF_TEXT])
    return Tokenizer(backend)


def read_merges(path: str | Path) -> list[tuple[str, str]]:
    """Return the pairs of a file of merges, in order of rank.

    Raises:
        UserError: a line is not two tokens.
    """
    lines = [line.removesuffix("\r") for line in read_text(path).split("\n")]
    pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    for number, pair in enumerate(pairs):
        if len(pair) != 2:
            raise UserError(f"{path}: merge {number} is {' '.join(pair)!r}, not two tokens")
    return [(left, right) for left, right in pairs]


def load_gpt2(path: str | Path, key: str = "tokenizer.path") -> Tokenizer:
    """Load GPT-2's tokenizer from a folder, from a `tokenizer.json`, or from the hub by name.

    A folder may hold OpenAI's files (`encoder.json`, `vocab.bpe`), Hugging Face's (`vocab.json`,
    `merges.txt`) or `tokenizer.json`.

    Args:
        path: the folder, file or name.
        key: the setting that gives it, for messages.

    Raises:
        UserError: the folder holds none of these, or the hub does not provide the tokenizer.
    """
    folder = readable_path(path, key)
    if folder.is_file():
        return Tokenizer.load(folder)
    if folder.is_dir():
        for vocab, merges in (("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt")):
            if (folder / vocab).is_file() and (folder / merges).is_file():
                return from_gpt2_files(folder / vocab, folder / merges)
        if (folder / "tokenizer.json").is_file():
            return Tokenizer.load(folder / "tokenizer.json")
        raise UserError(
            f"{key}={folder} holds neither encoder.json with vocab.bpe, nor vocab.json with "
            "merges.txt, nor tokenizer.json"
        )
    advice = "name a tokenizer.json, or a folder that holds it or encoder.json with vocab.bpe"
    if not may_be_on_hub(path):
        raise UserError(f"{key}={shown(path)} {absence(folder)}; {advice}")
    from huggingface_hub import hf_hub_download

    try:
        with hub_access():
            file = hf_hub_download(str(path), "tokenizer.json")
        return Tokenizer.load(file)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{key}={path} {absence(folder)}, and cannot be loaded as a tokenizer of the "
            f"hub: {hub_problem(error)}; {advice}"
        ) from error


def build_char_vocabulary(texts: Iterable[str]) -> Tokenizer:
    """Make a vocabulary with one id per distinct character of the texts, in code point order."""
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
