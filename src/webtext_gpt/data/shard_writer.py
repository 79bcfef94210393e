"""Write token shards (`webtext_gpt.data.shards`), for text sources and for `data_prep`."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from webtext_gpt.errors import UserError
from webtext_gpt.files import new_folder, write_json
from webtext_gpt.manifests import sealed
from webtext_gpt.progress import progress_bar
from webtext_gpt.tokenizer import Tokenizer

TokenIds = npt.NDArray[np.unsignedinteger[Any]]

SHARD_TOKENS = 2**27
"""Size in tokens after which the next document begins a new file."""


def write_shards(
    documents: Iterable[tuple[Split, str]],
    tokenizer: Tokenizer,
    folder: str | Path,
    source: dict[str, Any],
    *,
    total_bytes: int | None = None,
    shard_tokens: int = SHARD_TOKENS,
) -> None:
    """Tokenize documents into a shard folder, which appears only when it is complete.

    Args:
        documents: split and text of each document.
        tokenizer: encodes the documents; a copy goes into the folder.
        folder: must not exist yet.
        source: origin of the text, as plain values for the manifest.
        total_bytes: expected size of the text in bytes, for the progress bar.
        shard_tokens: size in tokens after which a new file begins.

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
                encoded = _encoded(documents, tokenizer)
                files = write_files(
                    encoded, tokenizer, partial, bar.update, shard_tokens=shard_tokens
                )
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
) -> Iterator[tuple[Split, str, TokenIds]]:
    for batch in _batches(documents):
        ids = tokenizer.encode_batch([text for _, text in batch])
        yield from ((split, text, i) for (split, text), i in zip(batch, ids, strict=True))


def _batches(documents: Iterable[tuple[Split, str]]) -> Iterator[list[tuple[Split, str]]]:
    """Group documents into lists of about four million characters, to encode on all cores."""
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
    """Append documents to one file of tokens and one of document starts, and hash both."""

    def __init__(self, folder: Path, number: str, split: Split) -> None:
        self.split = split
        self.tokens_path = folder / f"tokens-{number}.bin"
        self.documents_path = folder / f"documents-{number}.bin"
        self.file = self.tokens_path.open("wb")
        self.sha256 = hashlib.sha256()
        self.starts: list[int] = []
        self.n_tokens = 0
        self.n_bytes = 0

    def write(self, ids: TokenIds, n_bytes: int) -> None:
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
