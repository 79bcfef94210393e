"""Decompressed bytes of an archive, with a position that can be moved."""

import bisect
import re
import zlib
from typing import IO, Protocol

GZIP = b"\x1f\x8b\x08"
_ZSTD, _LZ4 = b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18"
_BLOCK = 1 << 16


def inflated(decompressor: "zlib._Decompress", given: bytes, size: int) -> tuple[bytes, bool]:
    """Decompress about `size` bytes at most, up to the first fault; return whether there is one.

    After a fault, the decompressor is of no more use.
    """
    before = decompressor.copy()
    try:
        return decompressor.decompress(given, size), False
    except zlib.error:
        pass
    found = []  # byte by byte, because zlib returns nothing from a call that fails
    try:
        for at in range(len(given)):
            found.append(before.decompress(given[at : at + 1]))
    except zlib.error:
        pass
    return b"".join(found), True


class DamagedError(Exception):
    """Bytes that cannot be decompressed, or that end too early.

    Attributes:
        begun: Offset in the decompressed bytes at which the damaged gzip member begins.
        member: Offset in the file at which it begins.
        offset: Offset in the file up to which it was read.
    """

    def __init__(self, begun: int, member: int, offset: int) -> None:
        super().__init__(f"damaged at byte {offset}")
        self.begun, self.member, self.offset = begun, member, offset


class Source(Protocol):
    """A source of bytes, which are read in order."""

    def read(self, size: int, /) -> bytes:
        """Return some bytes, about `size`; b"" at the end. DamagedError if they are damaged."""

    def seek(self, position: int, /) -> int:
        """Move to a position, or to a place before it; return the place."""

    def in_file(self, length: int, /) -> int:
        """Return roughly how many bytes of the file `length` decompressed bytes take."""


class Window:
    """Bytes of a source that can be looked at before they are read.

    Attributes:
        position: Offset of the next byte.
        damage: The error that ended the bytes, once it was met.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._buffer = b""
        self._at = 0  # offset of the next byte in the buffer
        self.position = 0
        self.damage: DamagedError | None = None

    def peek(self, size: int) -> bytes:
        """Return the next `size` bytes without moving; fewer at the end or before damage."""
        self._fill(size)
        return self._buffer[self._at : self._at + size]

    def match(self, pattern: re.Pattern[bytes], size: int) -> re.Match[bytes] | None:
        """Match a pattern with the next `size` bytes, without copying them."""
        self._fill(size)
        return pattern.match(self._buffer, self._at, self._at + size)

    def search(
        self, pattern: re.Pattern[bytes], size: int, skipped: int = 0
    ) -> tuple[int, int] | None:
        """Search the next `size` bytes without the first `skipped`; return where a match is.

        Its begin and end count from the next byte.
        """
        self._fill(size)
        found = pattern.search(self._buffer, self._at + skipped, self._at + size)
        return (found.start() - self._at, found.end() - self._at) if found else None

    def held(self, size: int) -> int:
        """Return how many of the next `size` bytes can be read before the end or damage."""
        self._fill(size)
        return min(len(self._buffer) - self._at, size)

    def _fill(self, size: int) -> None:
        held = len(self._buffer) - self._at
        if held >= size:
            return
        blocks = [self._buffer[self._at :]]
        try:
            while held < size and (block := self._source.read(max(size - held, _BLOCK))):
                blocks.append(block)
                held += len(block)
        except DamagedError as error:
            self.damage = error
        self._buffer, self._at = b"".join(blocks), 0

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer at the end or before damage, and move on."""
        found = self.peek(size)
        self._at += len(found)
        self.position += len(found)
        return found

    def seek(self, position: int) -> None:
        """Move to a position, or to the end if that comes first."""
        begin = self.position - self._at  # the bytes may still be in the buffer
        if begin <= position <= begin + len(self._buffer):
            self._at, self.position = position - begin, position
            return
        self.position = self._source.seek(position)
        self._buffer, self._at = b"", 0
        while self.position < position and self.read(min(position - self.position, _BLOCK)):
            pass


class PlainSource:
    """Bytes of a file that is not compressed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._size = file, file.seek(0, 2)
        file.seek(0)

    def read(self, size: int, /) -> bytes:
        """Return the next bytes."""
        return self._file.read(size)

    def seek(self, position: int, /) -> int:
        """Move to a position, or to the end if that comes first."""
        return self._file.seek(min(position, self._size))

    def in_file(self, length: int, /) -> int:
        """Return the length."""
        return length


class GzipSource:
    """Bytes of a sequence of gzip members.

    Args:
        file: The file.
        start: Offset in the file of the first member.
    """

    def __init__(self, file: IO[bytes], start: int) -> None:
        self._file = file
        self._members = [(0, start)]  # where each begins: in the decompressed bytes, in the file
        self._begin(0, start)

    def _begin(self, begun: int, member: int) -> None:
        self._begun, self._member = begun, member
        self._position, self._offset = begun, member
        self._decompressor = zlib.decompressobj(31)
        self._left = b""
        self._is_damaged = False

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, all of one member.

        Raises:
            DamagedError: The next bytes are not a gzip member, or it is damaged or cut.
        """
        while not self._is_damaged:
            if self._decompressor.eof:
                self._offset -= len(self._decompressor.unused_data)
                self._begin(self._position, self._offset)
                self._members.append((self._begun, self._member))
            if not self._left:
                self._file.seek(self._offset)
                self._left = self._file.read(_BLOCK // 4)
                self._offset += len(self._left)
                if not self._left and self._offset == self._member:
                    return b""
                if not self._left:
                    break
            block = self._decompress(size)
            self._position += len(block)
            if block:
                return block
        self._is_damaged = True
        raise DamagedError(self._begun, self._member, self._offset)

    def _decompress(self, size: int) -> bytes:
        block, self._is_damaged = inflated(self._decompressor, self._left, size)
        self._left = self._decompressor.unconsumed_tail
        return block

    def seek(self, position: int, /) -> int:
        """Go back to the beginning of the member that holds a position; never go forward."""
        if position < self._position:
            at = bisect.bisect_right(self._members, position, key=lambda member: member[0]) - 1
            del self._members[at + 1 :]
            self._begin(*self._members[at])
        return self._position

    def in_file(self, length: int, /) -> int:
        """Return a share of the bytes read so far."""
        return length * self._offset // max(self._position, 1)


class StreamSource:
    """Bytes of a file that is compressed with zstd or LZ4, read by FastWARC."""

    def __init__(self, file: IO[bytes], is_zstd: bool) -> None:
        self._file, self._is_zstd = file, is_zstd
        self._begin()

    def _begin(self) -> None:
        from fastwarc.stream_io import Lz4Reader, ZstdReader

        self._file.seek(0)
        self._reader = (ZstdReader if self._is_zstd else Lz4Reader)(self._file)
        self._position = 0

    def read(self, size: int, /) -> bytes:
        """Return the next bytes; raise DamagedError if there is an error."""
        try:
            block: bytes = self._reader.read(size)
        except (OSError, EOFError, ValueError) as error:
            raise DamagedError(0, 0, self._file.tell()) from error
        self._position += len(block)
        return block

    def seek(self, position: int, /) -> int:
        """Go back to the beginning; never go forward."""
        if position < self._position:
            self._begin()
        return self._position

    def in_file(self, length: int, /) -> int:
        """Return a share of the bytes read so far."""
        return length * self._file.tell() // max(self._position, 1)


def source_of(file: IO[bytes], name: str) -> Source:
    """Return the bytes of a file by its first bytes, or by its name if they are damaged."""
    file.seek(0)
    head = file.read(11)
    if head[:4] in (_ZSTD, _LZ4):
        return StreamSource(file, head.startswith(_ZSTD))
    is_plain = head.startswith((b"WARC/", b"filedesc://")) or ".gz" not in name
    return GzipSource(file, 0) if head.startswith(GZIP) or not is_plain else PlainSource(file)
