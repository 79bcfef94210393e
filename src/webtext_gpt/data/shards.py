"""Token shards: the file format that `data_prep` and the text sources write and training reads.

A folder holds

- `tokens-00000.bin`, ...: flat little-endian token ids, uint16, or uint32 where the vocabulary
  needs it. Every document begins with the end-of-text token;
- `documents-00000.bin`, ... beside each: where its documents begin, little-endian uint64;
- `tokenizer.json`: a copy of the tokenizer;
- `manifest.json`: version, dtype, counts, the split (`train` or `validation`) and the SHA-256 of
  every file, the tokenizer's hash, and what the source said of itself.

A folder is written beside its final name and renamed when it is whole.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from webtext_gpt.errors import UserError
from webtext_gpt.progress import progress_bar
from webtext_gpt.tokenizer import Tokenizer

FORMAT = "webtext-gpt token shards"
VERSION = 1
MANIFEST = "manifest.json"
TOKENIZER = "tokenizer.json"
SHARD_TOKENS = 2**27
"""Tokens after which a new file begins, at the next document."""

Split = Literal["train", "validation"]


@dataclass(frozen=True)
class ShardFile:
    """One file of tokens and its document starts, as the manifest lists it."""

    tokens_file: str
    documents_file: str
    split: Split
    n_tokens: int
    n_documents: int
    n_bytes: int
    """UTF-8 bytes of the documents' text."""
    tokens_sha256: str
    documents_sha256: str


def token_dtype(vocab_size: int) -> np.dtype:
    """The narrowest of little-endian uint16 and uint32 that holds every id."""
    return np.dtype("<u2" if vocab_size <= 2**16 else "<u4")


def write_shards(
    documents: Iterable[tuple[Split, str]],
    tokenizer: Tokenizer,
    folder: str | Path,
    source: dict[str, Any],
    *,
    total_bytes: int | None = None,
    shard_tokens: int = SHARD_TOKENS,
) -> None:
    """Tokenize documents into a shard folder, which appears when it is whole.

    Args:
        documents: split and text of each.
        tokenizer: what encodes them; a copy goes into the folder.
        folder: must not exist yet.
        source: what the manifest is to say of where the text came from; plain values.
        total_bytes: text to come, for the progress bar.
        shard_tokens: tokens after which a new file begins.

    Raises:
        UserError: the folder exists.
        OSError: nothing can be written there; what was written is removed.
    """
    folder = Path(folder)
    if folder.exists():
        raise UserError(f"{folder} exists already; remove it, or name another folder")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a killed writer
    partial.mkdir(parents=True)
    try:
        with progress_bar("tokenizing", total=total_bytes, unit="B", unit_scale=True) as bar:
            encoded = _encoded(documents, tokenizer)
            files = write_files(encoded, tokenizer, partial, bar.update, shard_tokens=shard_tokens)
        tokenizer.save(partial / TOKENIZER)
        manifest = manifest_of(tokenizer, files, source)
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        partial.rename(folder)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def manifest_of(
    tokenizer: Tokenizer, files: Sequence[ShardFile], source: dict[str, Any]
) -> dict[str, Any]:
    """What a shard folder's manifest says."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "dtype": token_dtype(tokenizer.vocab_size).name,
        "vocab_size": tokenizer.vocab_size,
        "end_of_text": tokenizer.end_of_text,
        "tokenizer_sha256": tokenizer.hash,
        "files": [asdict(file) for file in files],
        "source": source,
    }


def write_files(
    documents: Iterable[tuple[Split, str, np.ndarray]],
    tokenizer: Tokenizer,
    folder: Path,
    on_bytes: Callable[[int], Any],
    *,
    prefix: str = "",
    shard_tokens: int = SHARD_TOKENS,
) -> list[ShardFile]:
    """Write the files of tokens and document starts; a folder may hold those of several calls.

    Args:
        documents: split, text and token ids of each.
        tokenizer: whose ids they are.
        folder: where the files go.
        on_bytes: told of the UTF-8 bytes of each document's text.
        prefix: in front of the files' numbers, which begin at 0 at every call.
        shard_tokens: tokens after which a new file begins.
    """
    dtype = token_dtype(tokenizer.vocab_size)
    end_of_text = np.array([tokenizer.end_of_text], dtype=dtype)
    writers: dict[Split, _Writer] = {}
    finished: list[ShardFile] = []
    opened = 0
    for split, text, ids in documents:
        if split not in writers:
            writers[split] = _Writer(folder, f"{prefix}{opened:05d}", split)
            opened += 1
        n_bytes = len(text.encode())
        writers[split].write(np.concatenate((end_of_text, ids.astype(dtype))), n_bytes)
        on_bytes(n_bytes)
        if writers[split].n_tokens >= shard_tokens:
            finished.append(writers.pop(split).close())
    finished += [writer.close() for writer in writers.values()]
    return sorted(finished, key=lambda file: file.tokens_file)


def _encoded(
    documents: Iterable[tuple[Split, str]], tokenizer: Tokenizer
) -> Iterator[tuple[Split, str, np.ndarray]]:
    for batch in _batches(documents):
        ids = tokenizer.encode_batch([text for _, text in batch])
        yield from ((split, text, i) for (split, text), i in zip(batch, ids, strict=True))


def _batches(documents: Iterable[tuple[Split, str]]) -> Iterator[list[tuple[Split, str]]]:
    """Group documents into lists of about four million characters, encoded on all cores at once."""
    batch: list[tuple[Split, str]] = []
    size = 0
    for split, text in documents:
        batch.append((split, text))
        size += len(text)
        if size >= 4_000_000:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class _Writer:
    """Appends documents to one file of tokens and one of document starts, hashing as it goes."""

    def __init__(self, folder: Path, number: str, split: Split) -> None:
        self.split = split
        self.tokens_path = folder / f"tokens-{number}.bin"
        self.documents_path = folder / f"documents-{number}.bin"
        self.file = self.tokens_path.open("wb")
        self.sha256 = hashlib.sha256()
        self.starts: list[int] = []
        self.n_tokens = 0
        self.n_bytes = 0

    def write(self, ids: np.ndarray, n_bytes: int) -> None:
        data = ids.tobytes()
        self.file.write(data)
        self.sha256.update(data)
        self.starts.append(self.n_tokens)
        self.n_tokens += len(ids)
        self.n_bytes += n_bytes

    def close(self) -> ShardFile:
        self.file.close()
        starts = np.array(self.starts, dtype="<u8").tobytes()
        self.documents_path.write_bytes(starts)
        return ShardFile(
            tokens_file=self.tokens_path.name,
            documents_file=self.documents_path.name,
            split=self.split,
            n_tokens=self.n_tokens,
            n_documents=len(self.starts),
            n_bytes=self.n_bytes,
            tokens_sha256=self.sha256.hexdigest(),
            documents_sha256=hashlib.sha256(starts).hexdigest(),
        )


class TokenShards:
    """A shard folder opened for reading. Sizes are checked now, contents by `verify`.

    Args:
        path: the folder that `write_shards` wrote.

    Raises:
        UserError: the folder or a file is missing, of another format or version, or not of the
            size that the manifest states; the message names the file.
    """

    def __init__(self, path: str | Path) -> None:
        self.folder = Path(path).expanduser()
        path = self.folder / MANIFEST
        if not path.is_file():
            raise UserError(f"{self.folder} is no shard folder: it has no {MANIFEST}")
        try:
            self.manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if self.manifest["version"] != VERSION:
                raise UserError(
                    f"{path} has version {self.manifest['version']} of the format, "
                    f"but this program reads version {VERSION}; build the shards again"
                )
            self.files = [ShardFile(**entry) for entry in self.manifest["files"]]
            self.dtype = np.dtype(self.manifest["dtype"]).newbyteorder("<")
            self.vocab_size: int = self.manifest["vocab_size"]
            self.end_of_text: int = self.manifest["end_of_text"]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise UserError(f"{path} is not a manifest of token shards: {error!r}") from error
        for file in self.files:
            self._check_size(file.tokens_file, file.n_tokens * self.dtype.itemsize)
            self._check_size(file.documents_file, file.n_documents * 8)
        self.tokenizer = Tokenizer.load(self.folder / TOKENIZER)
        if self.tokenizer.hash != self.manifest["tokenizer_sha256"]:
            raise UserError(
                f"{self.folder / TOKENIZER} is not the tokenizer that made these shards "
                "(its hash differs from the manifest's); restore it or build the shards again"
            )

    def _check_size(self, name: str, expected: int) -> None:
        path = self.folder / name
        found = path.stat().st_size if path.is_file() else None
        if found != expected:
            state = "is missing" if found is None else f"has {found:,} bytes"
            raise UserError(f"{path} {state}, but the manifest states {expected:,}; {REPAIR}")

    @property
    def hash(self) -> str:
        """Stands for the tokens of all files, in order."""
        digests = [file.tokens_sha256 for file in self.files]
        return hashlib.sha256("".join(digests).encode()).hexdigest()

    def verify(self) -> None:
        """Read everything once: hashes, and that every id is in the vocabulary.

        Raises:
            UserError: a file was altered; the message names it.
        """
        total = sum((self.folder / file.tokens_file).stat().st_size for file in self.files)
        with progress_bar("checking shards", total=total, unit="B", unit_scale=True) as bar:
            for file in self.files:
                starts = (self.folder / file.documents_file).read_bytes()
                if hashlib.sha256(starts).hexdigest() != file.documents_sha256:
                    raise UserError(f"{self.folder / file.documents_file} was altered; {REPAIR}")
                sha256 = hashlib.sha256()
                largest = 0
                with (self.folder / file.tokens_file).open("rb") as stream:
                    while data := stream.read(2**24):
                        sha256.update(data)
                        largest = max(largest, int(np.frombuffer(data, self.dtype).max()))
                        bar.update(len(data))
                if sha256.hexdigest() != file.tokens_sha256:
                    raise UserError(f"{self.folder / file.tokens_file} was altered; {REPAIR}")
                if largest >= self.vocab_size:
                    raise UserError(
                        f"{self.folder / file.tokens_file} holds id {largest}, but the "
                        f"vocabulary ends at {self.vocab_size - 1}; {REPAIR}"
                    )

    def split(self, split: Split) -> "TokenStream":
        """The tokens of one split as one sequence.

        Raises:
            UserError: the folder has no such split.
        """
        files = [file for file in self.files if file.split == split]
        if not files:
            raise UserError(
                f"{self.folder} has no {split} split; build the shards with another val_fraction"
            )
        return TokenStream(self.folder, files, self.dtype)


REPAIR = "remove the folder and build the shards again"


class TokenStream:
    """Files of tokens, memory-mapped, read as one sequence.

    Attributes:
        n_tokens: length of the sequence.
        n_documents: documents in it.
        n_bytes: UTF-8 bytes of their text.
    """

    def __init__(self, folder: Path, files: Sequence[ShardFile], dtype: np.dtype) -> None:
        self._maps = [np.memmap(folder / f.tokens_file, dtype=dtype, mode="r") for f in files]
        self._ends = np.cumsum([len(m) for m in self._maps])
        self._starts = [
            np.fromfile(folder / f.documents_file, dtype="<u8").astype(np.int64) for f in files
        ]
        self.n_tokens = int(self._ends[-1])
        self.n_documents = sum(f.n_documents for f in files)
        self.n_bytes = sum(f.n_bytes for f in files)

    def read(self, start: int, length: int) -> np.ndarray:
        """Tokens `start` to `start + length`, as int64; fewer where the sequence ends."""
        pieces = []
        number = int(np.searchsorted(self._ends, start, side="right"))
        while length > 0 and number < len(self._maps):
            offset = start - (int(self._ends[number]) - len(self._maps[number]))
            piece = self._maps[number][offset : offset + length].astype(np.int64)
            pieces.append(piece)
            start, length, number = start + len(piece), length - len(piece), number + 1
        return np.concatenate(pieces) if pieces else np.empty(0, np.int64)

    def documents(self) -> Iterator[np.ndarray]:
        """Each document's token ids, without the end-of-text token in front."""
        for tokens, starts in zip(self._maps, self._starts, strict=True):
            for begin, end in zip(starts, np.append(starts[1:], len(tokens)), strict=True):
                yield tokens[begin + 1 : end]

    def document_numbers(self, start: int, end: int) -> range:
        """Numbers of the documents, counted from 0, that tokens `start` to `end` belong to."""
        first, last = (self._document_number(position) for position in (start, end - 1))
        return range(first, last + 1)

    def _document_number(self, position: int) -> int:
        number = int(np.searchsorted(self._ends, position, side="right"))
        offset = position - (int(self._ends[number]) - len(self._maps[number]))
        within = int(np.searchsorted(self._starts[number], offset, side="right")) - 1
        return sum(len(starts) for starts in self._starts[:number]) + within
