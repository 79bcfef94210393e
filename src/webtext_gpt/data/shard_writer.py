"""Write token shards (`webtext_gpt.data.shards`), for text sources and for `data_prep`."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from webtext_gpt.data.shards import (
    FORMAT,
    MANIFEST,
    TOKENIZER,
    VERSION,
    ShardFile,
    Split,
    token_dtype,
)
from webtext_gpt.data.tokenizing import tokenized
from webtext_gpt.errors import UserError
from webtext_gpt.files import new_folder, write_json
from webtext_gpt.machine import cores
from webtext_gpt.manifests import sealed
from webtext_gpt.progress import progress_bar
from webtext_gpt.tokenizer import Tokenizer

TokenIds = npt.NDArray[np.unsignedinteger[Any]]

SHARD_TOKENS = 2**27
"""Size in tokens after which the next document begins a new file."""
BUFFERED = 2**18
"""Tokens that are written and hashed at once."""


def write_shards(
    documents: Iterable[tuple[Split, str]],
    tokenizer: Tokenizer,
    folder: str | Path,
    source: dict[str, Any],
    *,
    total_bytes: int | None = None,
    shard_tokens: int = SHARD_TOKENS,
    threads: int | None = None,
) -> None:
    """Tokenize documents into a shard folder, which appears only when it is complete.

    Args:
        documents: split and text of each document.
        tokenizer: encodes the documents; a copy goes into the folder.
        folder: must not exist yet.
        source: origin of the text, as plain values for the manifest.
        total_bytes: expected size of the text in bytes, for the progress bar.
        shard_tokens: size in tokens after which a new file begins.
        threads: number of threads that encode. None means one per core.

    Raises:
        UserError: the folder exists.
        OSError: writing failed; the partial folder is removed.
    """
    folder = Path(folder)
    if folder.exists():
        raise UserError(f"{folder} exists already; remove it or name another folder")
    try:
        with new_folder(folder) as partial:
            with progress_bar("tokenizing", total=total_bytes, unit="B", unit_scale=True) as bar:
                encoded = tokenized(documents, tokenizer, threads or cores())
                files = write_files(
                    encoded, tokenizer, partial, bar.update, shard_tokens=shard_tokens
                )
                bar.total = bar.n  # files with other ends of lines than \n hold more bytes
            tokenizer.save(partial / TOKENIZER)
            write_json(partial / MANIFEST, sealed(manifest_of(tokenizer, files, source)))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error


def manifest_of(
    tokenizer: Tokenizer, files: Sequence[ShardFile], source: dict[str, Any]
) -> dict[str, Any]:
    """Return the manifest of a shard folder."""
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
    documents: Iterable[tuple[Split, str, TokenIds]],
    tokenizer: Tokenizer,
    folder: Path,
    on_bytes: Callable[[int], object],
    *,
    prefix: str = "",
    shard_tokens: int = SHARD_TOKENS,
) -> list[ShardFile]:
    """Write the files of tokens and document starts of a shard folder.

    Args:
        documents: split, text and token ids of each document.
        tokenizer: the tokenizer that gave the ids.
        folder: receives the files.
        on_bytes: called with the size in UTF-8 bytes of each document written.
        prefix: precedes the number in a file's name; numbers start at 0 in every call, so calls
            that share a folder need different prefixes.
        shard_tokens: size in tokens after which a new file begins.

    Returns:
        The files written, sorted by name.

    Raises:
        OSError: writing failed; the files are removed, as after any other error.
    """
    dtype = token_dtype(tokenizer.vocab_size)
    writers: dict[Split, _Writer] = {}
    opened: list[_Writer] = []
    finished: list[ShardFile] = []
    try:
        for split, text, ids in documents:
            if split not in writers:
                number = f"{prefix}{len(opened):05d}"
                writers[split] = _Writer(folder, number, split, dtype, tokenizer.end_of_text)
                opened.append(writers[split])
            n_bytes = len(text) if text.isascii() else len(text.encode())
            writers[split].write(ids, n_bytes)
            on_bytes(n_bytes)
            if writers[split].n_tokens >= shard_tokens:
                finished.append(writers.pop(split).close())
        finished += [writer.close() for writer in writers.values()]
    except BaseException:
        for writer in opened:
            writer.discard()
        raise
    return sorted(finished, key=lambda file: file.tokens_file)


class _Writer:
    """Append documents to one file of tokens and one of document starts, and hash both."""

    def __init__(
        self, folder: Path, number: str, split: Split, dtype: np.dtype, end_of_text: int
    ) -> None:
        self.split = split
        self.tokens_path = folder / f"tokens-{number}.bin"
        self.documents_path = folder / f"documents-{number}.bin"
        self.file = self.tokens_path.open("wb")
        self.sha256 = hashlib.sha256()
        self.starts: list[int] = []
        self.n_tokens = 0
        self.n_bytes = 0
        self.end_of_text = end_of_text
        self.buffer = np.empty(BUFFERED, dtype)
        self.filled = 0

    def write(self, ids: TokenIds, n_bytes: int) -> None:
        size = len(ids) + 1
        if self.filled + size > len(self.buffer):
            self._flush()
            if size > len(self.buffer):
                self.buffer = np.empty(size, self.buffer.dtype)
        self.buffer[self.filled] = self.end_of_text
        self.buffer[self.filled + 1 : self.filled + size] = ids
        self.filled += size
        self.starts.append(self.n_tokens)
        self.n_tokens += size
        self.n_bytes += n_bytes

    def _flush(self) -> None:
        data = self.buffer[: self.filled].data
        self.file.write(data)
        self.sha256.update(data)
        self.filled = 0

    def close(self) -> ShardFile:
        self._flush()
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

    def discard(self) -> None:
        with suppress(OSError):  # the disk may be full, and the file has buffered bytes
            self.file.close()
        self.tokens_path.unlink(missing_ok=True)
        self.documents_path.unlink(missing_ok=True)
