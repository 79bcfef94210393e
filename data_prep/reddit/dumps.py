"""Lines of a compressed file (zstd, xz, bzip2, gzip or plain), read in bounded memory.

Published Reddit dumps are one zstd frame with a window of 2^31 bytes, which readers refuse by
default. The four decompressors used here share one interface. All of them report the end of a
frame, so a truncated file can be recognized.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from webtext_gpt.errors import UserError, explain
from webtext_gpt.signatures import head_of, refuse_other_kind

READ_BYTES = 1 << 16  # compressed bytes per step: even at a ratio of 1000 a step is 64 MB
MAX_ROW_BYTES = 1 << 24  # the longest real rows have a few hundred kB
BATCH_BYTES = 1 << 20  # approximate decompressed bytes per batch of lines

OVERLONG = b"\0"  # replaces a row over MAX_ROW_BYTES; not valid JSON

_KINDS = {  # suffix: first bytes
    ".zst": (b"\x28\xb5\x2f\xfd", *(bytes([0x50 + i]) + b"\x2a\x4d\x18" for i in range(16))),
    ".xz": (b"\xfd7zXZ\x00",),
    ".bz2": (b"BZh",),
    ".gz": (b"\x1f\x8b",),
}


class BrokenDumpError(Exception):
    """The file ends inside a frame, or its compressed data is damaged."""


class Decompressor(Protocol):
    """Decompressor of one frame, as zstandard, lzma, bz2 and zlib have it."""

    @property
    def eof(self) -> bool:
        """Whether the frame has ended."""

    @property
    def unused_data(self) -> bytes:
        """Data that follows the frame."""

    def decompress(self, data: bytes, /) -> bytes:
        """Decompress a piece of the frame."""


def compression(path: Path) -> str:
    """Detect the compression by the first bytes: `.zst`, `.xz`, `.bz2`, `.gz`, or "" if plain.

    Raises:
        UserError: The file cannot be read, or is neither compressed lines nor plain ones, or its
            suffix names another format.
    """
    try:
        head = head_of(path)
    except OSError as error:
        raise UserError(explain(error)) from error
    kind = next((k for k, magics in _KINDS.items() if head.startswith(magics)), "")
    if not kind:
        refuse_other_kind(path, head, "lines of text")
    if path.suffix in _KINDS and kind != path.suffix:
        found = f"compressed as {kind}" if kind else f"not compressed, it begins with {head[:8]!r}"
        raise UserError(
            f"{path} is named {path.suffix}, but is {found if head else 'empty'}; rename it, or "
            "download it again"
        )
    return kind


def line_batches(path: Path, on_bytes: Callable[[int], object]) -> Iterator[list[bytes]]:
    """Yield lists of lines without their newlines, about a megabyte at a time.

    Blank lines are left out. A line longer than MAX_ROW_BYTES is replaced by OVERLONG.

    Args:
        path: The file.
        on_bytes: Called with the number of compressed bytes read since its last call.

    Raises:
        UserError: See `compression`.
        BrokenDumpError: A frame is cut short or damaged. All complete lines before it were yielded.
    """
    for lines in every_line(path, on_bytes, MAX_ROW_BYTES):
        rows = (OVERLONG if line is None else line for line in lines)
        yield [row for row in rows if row and not row.isspace()]


def every_line(
    path: Path, on_bytes: Callable[[int], object], longest: int
) -> Iterator[list[bytes | None]]:
    """Like `line_batches`, but keep blank lines and replace one of over `longest` bytes by None."""
    begun: list[bytes] = []  # start of the line whose end is not read yet
    length, overlong = 0, False
    blocks: list[bytes] = []
    held = 0

    def split() -> list[bytes | None]:
        """Split what is held into lines; the end of the last one is not read yet."""
        first, *lines = b"".join([*begun, *blocks]).split(b"\n")
        cut = overlong or len(first) > longest  # overlong: its start was dropped already
        return [None if cut else first, *lines]

    try:
        for block in _blocks(path, compression(path), on_bytes):
            blocks.append(block)
            held += len(block)
            if held < BATCH_BYTES:
                continue
            if any(b"\n" in piece for piece in blocks):
                *lines, rest = split()
                assert rest is not None  # noqa: S101 - only the first line can be None
                begun, length, overlong = [rest], len(rest), False
                yield lines
            else:  # a long line is joined only once, when its end is read
                begun += blocks
                length += held
            if overlong or length > longest:
                begun, overlong = [], True
            blocks, held = [], 0
    except BrokenDumpError:
        yield split()[:-1]
        raise
    yield split()


def _blocks(path: Path, kind: str, on_bytes: Callable[[int], object]) -> Iterator[bytes]:
    """Yield the decompressed bytes of all frames of a file."""
    decompressor, damage = (_decompressor(kind) if kind else None), _damage_errors(kind)
    with path.open("rb") as file:
        while data := file.read(READ_BYTES):
            on_bytes(len(data))
            if decompressor is None:
                yield data
                continue
            while data:
                if decompressor.eof:  # another frame follows, or the padding that xz allows
                    data = data.lstrip(b"\0")
                    if not data:
                        break
                    decompressor = _decompressor(kind)
                try:
                    plain = decompressor.decompress(data)
                except damage as error:
                    raise BrokenDumpError(f"damaged {kind} data ({error})") from error
                yield plain
                data = decompressor.unused_data if decompressor.eof else b""
    if decompressor is not None and not decompressor.eof:
        raise BrokenDumpError(f"the file ends inside a {kind} frame: it was cut short")


def _decompressor(kind: str) -> Decompressor:
    if kind == ".zst":
        import zstandard

        return zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()
    if kind == ".xz":
        return lzma.LZMADecompressor()
    if kind == ".bz2":
        return bz2.BZ2Decompressor()
    return zlib.decompressobj(wbits=31)


def _damage_errors(kind: str) -> tuple[type[Exception], ...]:
    """Return the errors that the decompressor raises on damaged data."""
    if kind == ".zst":
        import zstandard

        return (zstandard.ZstdError,)
    return (lzma.LZMAError, zlib.error, OSError, EOFError)
