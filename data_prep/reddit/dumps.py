"""Lines of a Reddit dump, however it is compressed, in flat memory.

Published dumps are one frame with a 2^31 window, which default readers refuse. The four
decompressors used here share one interface, and all say when a frame has ended, so that a
truncated file is told from a whole one.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from webtext_gpt.errors import UserError

READ_BYTES = 1 << 16  # compressed bytes a step: even at 1:1000 a step stays under 64 MB
MAX_ROW_BYTES = 1 << 24  # the longest real rows are some hundred kB
BATCH_BYTES = 1 << 20

OVERLONG = b"\0"  # stands for a row over MAX_ROW_BYTES, and is no JSON

_KINDS = {  # suffix: first bytes
    ".zst": (b"\x28\xb5\x2f\xfd", *(bytes([0x50 + i]) + b"\x2a\x4d\x18" for i in range(16))),
    ".xz": (b"\xfd7zXZ\x00",),
    ".bz2": (b"BZh",),
    ".gz": (b"\x1f\x8b",),
}


class BrokenDumpError(Exception):
    """The dump ends inside a frame, or its compressed data is damaged, after some lines."""


def compression(path: Path) -> str:
    """Tell a dump's compression by its first bytes: a key of `.zst .xz .bz2 .gz`, or "" if plain.

    Raises:
        UserError: the file cannot be read, or its name promises another format.
    """
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    kind = next((k for k, magics in _KINDS.items() if head.startswith(magics)), "")
    if path.suffix in _KINDS and kind != path.suffix:
        raise UserError(f"{path}: named {path.suffix}, but its first bytes are {head!r}")
    return kind


def line_batches(path: Path, on_bytes: Callable[[int], None]) -> Iterator[list[bytes]]:
    """Yield lists of lines without their ends, a megabyte or so at a time; no empty lines.

    `on_bytes(n)` hears of every n compressed bytes read. A line over MAX_ROW_BYTES comes as
    OVERLONG.

    Raises:
        UserError: see `compression`.
        BrokenDumpError: the frame is cut or damaged; all whole lines before came already.
    """
    for lines in every_line(path, on_bytes, MAX_ROW_BYTES):
        rows = (OVERLONG if line is None else line for line in lines)
        yield [row for row in rows if row and not row.isspace()]


def every_line(
    path: Path, on_bytes: Callable[[int], None], longest: int
) -> Iterator[list[bytes | None]]:
    """As `line_batches`, with empty lines, and None for a line of more than `longest` bytes."""
    begun: list[bytes] = []  # the line that has no end yet
    length, overlong = 0, False
    blocks: list[bytes] = []
    held = 0

    def split() -> list[bytes | None]:
        """All lines there are; the last one has no end yet."""
        first, *lines = b"".join([*begun, *blocks]).split(b"\n")
        cut = overlong or len(first) > longest  # overlong: its start was thrown away
        return [None if cut else first, *lines]

    try:
        for block in _blocks(path, compression(path), on_bytes):
            blocks.append(block)
            held += len(block)
            if held < BATCH_BYTES:
                continue
            if any(b"\n" in piece for piece in blocks):
                *lines, rest = split()
                assert rest is not None  # noqa: S101 - a later line than the first
                begun, length, overlong = [rest], len(rest), False
                yield lines
            else:  # joined only when its end comes, since it may be long
                begun += blocks
                length += held
            if overlong or length > longest:
                begun, overlong = [], True
            blocks, held = [], 0
    except BrokenDumpError:
        yield split()[:-1]
        raise
    yield split()


def _blocks(path: Path, kind: str, on_bytes: Callable[[int], None]) -> Iterator[bytes]:
    """Decompressed bytes of all frames of a file."""
    decompressor, damage = (_decompressor(kind) if kind else None), _damage(kind)
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


def _decompressor(kind: str) -> Any:
    if kind == ".zst":
        import zstandard

        return zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()
    if kind == ".xz":
        return lzma.LZMADecompressor()
    if kind == ".bz2":
        return bz2.BZ2Decompressor()
    return zlib.decompressobj(wbits=31)


def _damage(kind: str) -> tuple[type[Exception], ...]:
    """What the decompressor raises on damaged data."""
    if kind == ".zst":
        import zstandard

        return (zstandard.ZstdError,)
    return (lzma.LZMAError, zlib.error, OSError, EOFError)
