"""Lines and text of a compressed file (zstd, xz, bzip2, gzip or plain); lines in bounded memory.

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
from webtext_gpt.files import BOM, decode_text
from webtext_gpt.signatures import HEAD_BYTES, head_of, kind_of, refuse_other_kind

READ_BYTES = 1 << 16  # compressed bytes per step: even at a ratio of 1000 a step is 64 MB
BATCH_BYTES = 1 << 20  # approximate decompressed bytes per batch of lines
MAX_ROW_BYTES = 1 << 24  # in a dump, whose longest real rows have a few hundred kB
LONGEST_LINE = 1 << 30
"""Longest line in bytes. A line is held in memory; text8, for example, is one line of 100 MB."""

OVERLONG = b"\0"  # replaces a row over MAX_ROW_BYTES; not valid JSON

_KINDS = {  # suffix: first bytes
    ".zst": (b"\x28\xb5\x2f\xfd", *(bytes([0x50 + i]) + b"\x2a\x4d\x18" for i in range(16))),
    ".xz": (b"\xfd7zXZ\x00",),
    ".bz2": (b"BZh",),
    ".gz": (b"\x1f\x8b",),
}


class BrokenFileError(Exception):
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
    suffix = path.suffix.lower()
    if suffix in _KINDS and kind != suffix:
        found = f"compressed as {kind}" if kind else f"not compressed, it begins with {head[:8]!r}"
        raise UserError(
            f"{path} is named {suffix}, but is {found if head else 'empty'}; rename it, or "
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
        BrokenFileError: A frame is cut short or damaged. All complete lines before it were yielded.
    """
    for lines in every_line(path, on_bytes, MAX_ROW_BYTES):
        rows = (OVERLONG if line is None else line for line in lines)
        yield [row for row in rows if row and not row.isspace()]


def every_line(
    path: Path, on_bytes: Callable[[int], object], longest: int
) -> Iterator[list[bytes | None]]:
    """Like `line_batches`, but keep blank lines, and replace lines over `longest` bytes by None."""
    begun: list[bytes] = []  # start of the line whose end is not read yet
    length, overlong = 0, False
    blocks: list[bytes] = []
    held = 0

    def split() -> list[bytes | None]:
        """Split the buffered bytes into lines; the end of the last one is not read yet."""
        first, *lines = b"".join([*begun, *blocks]).split(b"\n")
        cut = overlong or len(first) > longest  # overlong: its start was dropped already
        return [None if cut else first, *lines]

    try:
        for block in _blocks(path, on_bytes):
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
    except BrokenFileError:
        yield split()[:-1]
        raise
    yield split()


def numbered_lines(
    path: Path, on_bytes: Callable[[int], object]
) -> Iterator[list[tuple[int, bytes]]]:
    """Yield lists of non-blank lines with their numbers in the file, from 1.

    A byte order mark is dropped, also where files were joined.

    Raises:
        UserError: See `compression`; or a frame is cut short or damaged, or a line is longer than
            LONGEST_LINE.
    """
    _refuse_disguised(path)
    first = 1
    try:
        for lines in every_line(path, on_bytes, LONGEST_LINE):
            found = []
            for number, line in enumerate(lines, first):
                if line is None:
                    raise UserError(
                        f"{path}: line {number:,} has more than {LONGEST_LINE:,} bytes; split "
                        "it, or read the file as one document (lines=false)"
                    )
                if (line := line.removeprefix(BOM)).strip():
                    found.append((number, line))
            first += len(lines)
            yield found
    except BrokenFileError as error:
        raise UserError(f"{path}: {error}, after {first - 1:,} lines") from error


def whole_text(path: Path, on_bytes: Callable[[int], object]) -> str:
    r"""Return the text of a UTF-8 file, compressed or not, with `\n` for `\r\n`.

    Raises:
        UserError: See `compression` and `files.decode_text`; or a frame is cut short or damaged.
    """
    _refuse_disguised(path)
    try:
        data = b"".join(_blocks(path, on_bytes))
    except BrokenFileError as error:
        raise UserError(f"{path}: {error}") from error
    return decode_text(path, data).replace("\r\n", "\n")


def _refuse_disguised(path: Path) -> None:
    """Refuse a compressed file whose name does not say so."""
    if path.suffix.lower() not in _KINDS:
        refuse_other_kind(path, head_of(path))


def _blocks(path: Path, on_bytes: Callable[[int], object]) -> Iterator[bytes]:
    """Yield the decompressed bytes of a file, which must be text."""
    kind, head, checked = compression(path), b"", False
    for block in _decompressed(path, kind, on_bytes):
        if kind and not checked:
            head += block[:HEAD_BYTES]
            checked = len(head) >= HEAD_BYTES
            if checked:
                _refuse_contents(path, head)
        yield block
    if kind and not checked:
        _refuse_contents(path, head)


def _refuse_contents(path: Path, head: bytes) -> None:
    if (found := kind_of(head[:HEAD_BYTES])) is not None:
        raise UserError(f"{path} holds, compressed, a file that is {found.name}, not text")


def _decompressed(path: Path, kind: str, on_bytes: Callable[[int], object]) -> Iterator[bytes]:
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
                    raise BrokenFileError(f"damaged {kind} data ({error})") from error
                yield plain
                data = decompressor.unused_data if decompressor.eof else b""
    if decompressor is not None and not decompressor.eof:
        raise BrokenFileError(f"the file ends inside a {kind} frame: it was cut short")


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
