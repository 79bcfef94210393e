"""File of a Bloom filter; damage is found before any bit of it is used.

A file is a header of 4,096 bytes, the words of the filter, little-endian, and one checksum for
each block of `BLOCK_BYTES` of them. The header begins with a hash of its own text, and holds a hash
of the checksums. Every block is checked when a filter is opened, because a bit wrongly cleared
makes the filter deny items that it holds, and one wrongly set makes it find items that it does not.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated, Any

import msgspec
import numpy as np
import xxhash

from data_prep.ngrams.arrays import Hashes
from data_prep.ngrams.bloom_size import HALVES, WORDS
from webtext_gpt.errors import UserError, explain
from webtext_gpt.files import replaced

MAGIC = b"webtext-gpt bloom\n"
VERSION = 2
"""Version 1 had no checksums of the words, so its damage could not be found."""
HEADER_BYTES = 4096  # one page, so that the words after it can be memory-mapped
BLOCK_BYTES = 1 << 20


class Header(msgspec.Struct):
    """Description of a filter.

    Attributes:
        version: Version of the file format.
        ngram: Words of an n-gram.
        normalisation: Definition of a word.
        blocks: Blocks of each half of the filter.
        added: Hashes added, repeats included.
        room: Distinct hashes that the filter was sized for; None if unknown.
        checksums: Hash of the checksums that follow the words.
    """

    version: int
    ngram: int
    normalisation: str
    blocks: Annotated[int, msgspec.Meta(ge=1, lt=2**58)]
    added: Annotated[int, msgspec.Meta(ge=0)]
    room: Annotated[int, msgspec.Meta(ge=0)] | None = None
    checksums: str = ""

    @property
    def n_words(self) -> int:
        """Words of 64 bits in both halves."""
        return HALVES * self.blocks * WORDS


def write_filter(path: Path, header: Header, words: Hashes) -> None:
    """Write a filter atomically; the header's `checksums` are computed here."""
    with replaced(path) as temporary:
        put_words(temporary, 0, words)
        seal_filter(temporary, header)


def put_words(path: Path, block: int, words: Hashes) -> None:
    """Write the words of some blocks into an unfinished file, the first of them number `block`."""
    path.touch()
    with path.open("r+b") as file:
        file.seek(HEADER_BYTES + block * WORDS * 8)
        words.astype("<u8", copy=False).tofile(file)


def seal_filter(path: Path, header: Header) -> None:
    """Write header and checksums into a file that has all words."""
    end = HEADER_BYTES + header.n_words * 8
    with path.open("r+b") as file:
        checksums = b"".join(_each_checksum(file, end))
        header.checksums = xxhash.xxh3_128_hexdigest(checksums)
        text = json.dumps(msgspec.to_builtins(header)).encode()
        head = MAGIC + xxhash.xxh3_128_hexdigest(text).encode() + b"\n" + text
        file.truncate(end)
        file.write(checksums)
        file.seek(0)
        file.write(head.ljust(HEADER_BYTES))


def read_header(path: Path, known: dict[str, Any]) -> Header:
    """Read the header of a filter.

    Args:
        path: The file.
        known: Values that its fields must have.

    Raises:
        UserError: The file cannot be read, is not a filter, is damaged, or differs from `known`.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
    except OSError as error:
        raise UserError(explain(error)) from error
    if not head.startswith(MAGIC):
        raise UserError(
            f"{path} is not a Bloom filter of this project; build one with data_prep/filters.py"
        )
    digest, _, text = head[len(MAGIC) :].partition(b"\n")
    text = text.rstrip(b" ")
    if xxhash.xxh3_128_hexdigest(text).encode() != digest:
        raise UserError(f"{path}: its header is damaged; build it again")
    try:
        found = json.loads(text)
        for key, ours in {"version": VERSION, **known}.items():
            if found[key] != ours:
                raise UserError(
                    f"{path}: {key} is {found[key]!r} there, {ours!r} here; build it again"
                )
        return msgspec.convert(found, Header)
    except (json.JSONDecodeError, msgspec.ValidationError, KeyError, TypeError) as error:
        raise UserError(f"{path}: its header is damaged ({error}); build it again") from error


def check_words(path: Path, header: Header) -> None:
    """Read a filter, block by block, and check each.

    Raises:
        UserError: The file has another size than its header states, or a block is damaged.
    """
    n_bytes = header.n_words * 8
    end = HEADER_BYTES + n_bytes
    expected = end + 8 * -(-n_bytes // BLOCK_BYTES)
    if (size := path.stat().st_size) != expected:
        raise UserError(
            f"{path} has {size:,} bytes, but its header states {expected:,}; build it again"
        )
    with path.open("rb") as file:
        file.seek(end)
        stored = file.read()
        if xxhash.xxh3_128_hexdigest(stored) != header.checksums:
            raise UserError(f"{path}: its checksums are damaged; build it again")
        for number, found in enumerate(_each_checksum(file, end)):
            if found != stored[8 * number : 8 * number + 8]:
                start = HEADER_BYTES + number * BLOCK_BYTES
                raise UserError(
                    f"{path}: the block of {BLOCK_BYTES:,} bytes at byte {start:,} is damaged; "
                    "build it again"
                )


def map_words(path: Path, header: Header) -> Hashes:
    """Return the words of a filter that was checked, memory-mapped for reading."""
    words: Hashes = np.memmap(path, "<u8", "r", HEADER_BYTES, (header.n_words,))
    return words


def read_words(path: Path, block: int, words: Hashes) -> None:
    """Read the words of some blocks of a filter that was checked, the first of them `block`."""
    with path.open("rb") as file:
        file.seek(HEADER_BYTES + block * WORDS * 8)
        read = file.readinto(words.data.cast("B"))
    if read != words.nbytes:
        raise UserError(f"{path} became shorter while it was read; build it again")


def _each_checksum(file: IO[bytes], end: int) -> Iterator[bytes]:
    """Yield a checksum for each block of words, which end at byte `end`; leaves the file there."""
    file.seek(HEADER_BYTES)
    for start in range(HEADER_BYTES, end, BLOCK_BYTES):
        yield xxhash.xxh3_64_digest(file.read(min(BLOCK_BYTES, end - start)))
