"""Token shards: the file format that `shard_writer` writes, and its reader.

A folder holds

- `tokens-00000.bin`, ...: flat little-endian token ids, uint16, or uint32 if the vocabulary needs
  it. Every document begins with the end-of-text token;
- `documents-00000.bin`, ...: the offsets of the documents in the tokens file of the same number,
  little-endian uint64;
- `tokenizer.json`: a copy of the tokenizer;
- `manifest.json` (`shard_manifest`): version, dtype, counts, the split (`train` or `validation`)
  and the SHA-256 of every file, the tokenizer's hash, and a description of the source.

A folder is written under a temporary name and renamed when it is complete.
"""

import hashlib
import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from webtext_gpt.data.shard_manifest import (
    FORMAT,
    REPAIR,
    VERSION,
    ShardFile,
    Split,
    read_shard_manifest,
    token_dtype,
)
from webtext_gpt.errors import UserError
from webtext_gpt.locks import InUse
from webtext_gpt.manifests import refuse_altered
from webtext_gpt.paths import absence, readable_path, shown
from webtext_gpt.progress import progress_bar
from webtext_gpt.tokenizer import Tokenizer

__all__ = [
    "FORMAT",
    "MANIFEST",
    "TOKENIZER",
    "VERSION",
    "ShardFile",
    "Split",
    "TokenShards",
    "TokenStream",
    "holds_shards",
    "token_dtype",
]

MANIFEST = "manifest.json"
TOKENIZER = "tokenizer.json"

READ_AHEAD_BYTES = 4 << 30
"""Largest split, in bytes, that the system reads ahead, so that it is soon in memory.

In a larger split, samples are far apart, and reading ahead would read 128 KiB to 8 MiB for each
sample of 2 KiB.
"""


class TokenShards:
    """A shard folder opened for reading.

    Opening it checks the manifest, the files' sizes, the document starts and the tokenizer;
    `verify` checks the other contents.

    Args:
        path: a folder that `write_shards` wrote, or its address in an object store; its files are
            then copied to this machine, where they are mapped.
        key: prefix of the settings' keys, for messages.

    Raises:
        UserError: the folder or a file is missing, has another format or version, or differs
            from what the manifest says; the message names the file.
    """

    def __init__(self, path: str | Path, key: str = "data") -> None:
        self.folder = readable_path(path, f"{key}.path")
        path = self.folder / MANIFEST
        if not path.is_file():
            raise UserError(_problem(self.folder, key))
        self.manifest, checked = read_shard_manifest(path)
        self.files = checked.files
        self.dtype = np.dtype(checked.dtype).newbyteorder("<")
        self.vocab_size = checked.vocab_size
        self.end_of_text = checked.end_of_text
        self._in_use = InUse(path)  # as long as this object exists: see `data/cache.py`
        for file in self.files:
            self._check_size(file.tokens_file, file.n_tokens * self.dtype.itemsize)
            self._check_size(file.documents_file, file.n_documents * 8)
            _document_starts(self.folder, file)
        self.tokenizer = Tokenizer.load(self.folder / TOKENIZER)
        if self.tokenizer.hash != checked.tokenizer_sha256:
            raise UserError(
                f"{self.folder / TOKENIZER} is not the tokenizer that made these shards "
                "(its hash differs from the manifest's); restore it or build the shards again"
            )
        for name in ("vocab_size", "end_of_text"):
            if getattr(self.tokenizer, name) != getattr(self, name):
                raise UserError(
                    f"{path}: {name} is {getattr(self, name)} there, "
                    f"{getattr(self.tokenizer, name)} in {TOKENIZER}; {REPAIR}"
                )
        refuse_altered(path, self.manifest, REPAIR)

    def _check_size(self, name: str, expected: int) -> None:
        path = self.folder / name
        found = path.stat().st_size if path.is_file() else None
        if found != expected:
            state = "is missing" if found is None else f"has {found:,} bytes"
            raise UserError(f"{path} {state}, but the manifest states {expected:,}; {REPAIR}")

    @property
    def hash(self) -> str:
        """SHA-256 over the hashes of all token files, in order."""
        digests = [file.tokens_sha256 for file in self.files]
        return hashlib.sha256("".join(digests).encode()).hexdigest()

    def verify(self) -> None:
        """Read every file and check its hash, its ids and where its documents begin.

        Raises:
            UserError: a file was altered, holds an unknown id, or has a document that does not
                begin with end-of-text; the message names it.
        """
        total = sum((self.folder / file.tokens_file).stat().st_size for file in self.files)
        with progress_bar("checking shards", total=total, unit="B", unit_scale=True) as bar:
            for file in self.files:
                starts = _document_starts(self.folder, file)
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
                tokens = np.memmap(self.folder / file.tokens_file, self.dtype, "r")
                if (tokens[starts] != self.end_of_text).any():
                    raise UserError(
                        f"{self.folder / file.documents_file} has a document that does not begin "
                        f"with end-of-text ({self.end_of_text}); {REPAIR}"
                    )

    def split(self, split: Split) -> "TokenStream":
        """Return the tokens of one split as one sequence.

        Raises:
            UserError: the folder lacks the split.
        """
        files = [file for file in self.files if file.split == split]
        if not files:
            raise UserError(
                f"{self.folder} has no {split} split; build the shards with another val_fraction"
            )
        return TokenStream(self.folder, files, self.dtype)


def _document_starts(folder: Path, file: ShardFile) -> npt.NDArray[np.int64]:
    """Return where the documents of one file begin, in tokens, (n_documents,).

    Raises:
        UserError: the file was altered; or they do not ascend from 0, or the last is past the end
            of the tokens.
    """
    path = folder / file.documents_file
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != file.documents_sha256:
        raise UserError(f"{path} was altered; {REPAIR}")
    starts = np.frombuffer(data, "<u8")
    if starts[0] != 0 or (starts[1:] <= starts[:-1]).any() or starts[-1] >= file.n_tokens:
        raise UserError(
            f"{path} does not hold document starts that ascend from 0 to less than "
            f"{file.n_tokens:,}, the number of tokens; {REPAIR}"
        )
    return starts.astype(np.int64)


def _mapped(path: Path, dtype: np.dtype, *, at_random: bool) -> npt.NDArray[Any]:
    """Return the tokens of a file, memory-mapped for reading.

    Args:
        path: the file.
        dtype: number format of a token.
        at_random: whether to read only the pages that are used.
    """
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if at_random and hasattr(mmap, "MADV_RANDOM"):
        mapped.madvise(mmap.MADV_RANDOM)
    return np.frombuffer(mapped, dtype)


def holds_shards(folder: Path) -> bool:
    """Return whether a folder looks like one of token shards."""
    return (folder / MANIFEST).is_file() and any(folder.glob("tokens-*.bin"))


def _problem(folder: Path, key: str) -> str:
    """Return why a folder without a manifest cannot be read as shards, and what to do."""
    advice = f"; to train on texts, set {'data=files' if key == 'data' else f'{key}.kind=files'}"
    if not folder.exists():
        return f"{key}.path={shown(folder)} {absence(folder)}{advice}"
    if not folder.is_dir():
        return f"{folder} is a file, not a folder of token shards{advice}"
    inside = sorted(path.parent for path in folder.glob(f"*/{MANIFEST}"))
    if found := next(filter(holds_shards, inside), None):
        return f"{folder} is not a folder of token shards, but holds one; set {key}.path={found}"
    return f"{folder} is not a folder of token shards: it has no {MANIFEST}{advice}"


class TokenStream:
    """Memory-mapped token files read as one sequence.

    Attributes:
        n_tokens: number of tokens.
        n_documents: number of documents.
        n_bytes: size of the documents' text in UTF-8 bytes.
    """

    def __init__(self, folder: Path, files: Sequence[ShardFile], dtype: np.dtype) -> None:
        is_large = sum(f.n_tokens for f in files) * dtype.itemsize > READ_AHEAD_BYTES
        self._maps = [_mapped(folder / f.tokens_file, dtype, at_random=is_large) for f in files]
        self._ends = np.cumsum([len(m) for m in self._maps])
        self._starts = [_document_starts(folder, f) for f in files]
        self._last_documents = np.cumsum([len(starts) for starts in self._starts])
        self.n_tokens = int(self._ends[-1])
        self.n_documents = sum(f.n_documents for f in files)
        self.n_bytes = sum(f.n_bytes for f in files)

    def read(self, start: int, length: int) -> np.ndarray:
        """Return tokens `start` to `start + length` as int64; fewer at the end of the sequence."""
        pieces = []
        number = int(np.searchsorted(self._ends, start, side="right"))
        while length > 0 and number < len(self._maps):
            offset = start - (int(self._ends[number]) - len(self._maps[number]))
            piece = self._maps[number][offset : offset + length].astype(np.int64)
            pieces.append(piece)
            start, length, number = start + len(piece), length - len(piece), number + 1
        return np.concatenate(pieces) if pieces else np.empty(0, np.int64)

    def document_lengths(self) -> npt.NDArray[np.int64]:
        """Return the tokens of each document, with its end-of-text token, `(n_documents,)`."""
        return np.concatenate(
            [
                np.diff(starts, append=len(tokens))
                for tokens, starts in zip(self._maps, self._starts, strict=True)
            ]
        )

    def document_start(self, number: int) -> int:
        """Return the position of a document's first token, its end-of-text token."""
        file = int(np.searchsorted(self._last_documents, number, side="right"))
        starts = self._starts[file]
        within = number - (int(self._last_documents[file]) - len(starts))
        return int(self._ends[file]) - len(self._maps[file]) + int(starts[within])

    def documents(self) -> Iterator[np.ndarray]:
        """Yield each document's token ids, without the leading end-of-text token."""
        for tokens, starts in zip(self._maps, self._starts, strict=True):
            for begin, end in zip(starts, np.append(starts[1:], len(tokens)), strict=True):
                yield tokens[begin + 1 : end]

    def document_numbers(self, start: int, end: int) -> range:
        """Return the numbers, from 0, of the documents that hold tokens `start` to `end`."""
        first, last = (self._document_number(position) for position in (start, end - 1))
        return range(first, last + 1)

    def _document_number(self, position: int) -> int:
        number = int(np.searchsorted(self._ends, position, side="right"))
        offset = position - (int(self._ends[number]) - len(self._maps[number]))
        within = int(np.searchsorted(self._starts[number], offset, side="right")) - 1
        return sum(len(starts) for starts in self._starts[:number]) + within
