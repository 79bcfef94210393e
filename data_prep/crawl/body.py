"""Body of an HTTP response as it is stored: undo its transfer and content codings.

Servers and archives often declare a coding that the body does not have, or cut a body short. Then
the stored bytes are used, or what could be decoded of them, and the fault is named.
"""

import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from data_prep.crawl.mime import sniffed_type
from data_prep.crawl.streams import inflated

_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r?\n")
_SLICE = 512  # bytes that are decompressed at a time
_BLOCK = 1 << 16  # maximum bytes of the result
_GZIP = b"\x1f\x8b\x08"
_ZSTD_FRAME = b"\x28\xb5\x2f\xfd"
_ZSTD = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")  # a frame, also one to be skipped


def undo_codings(stored: bytes, codings: Sequence[str], most: int) -> tuple[bytes, list[str]]:
    """Undo the codings of a body.

    Args:
        stored: The body as it was received.
        codings: Names of the codings in the order in which they were applied: those of
            Content-Encoding, then those of Transfer-Encoding.
        most: Number of bytes after which decompression ends.

    Returns:
        The body, at most `most` bytes if it was compressed, and the faults that were found.
    """
    body, faults = stored, list[str]()
    for coding in (name.strip().lower() for name in reversed(codings)):
        if coding in ("", "identity", "none"):
            continue
        if coding == "chunked":
            body, fault = _dechunked(body)
        elif coding in _DECOMPRESSORS:
            body, fault = _decompressed(body, coding.removeprefix("x-"), most)
        else:
            fault = "unknown content coding"
        if fault:
            faults.append(fault)
    unsaid = "gzip" if body.startswith(_GZIP) else "zstd" if body.startswith(_ZSTD_FRAME) else ""
    if unsaid:
        body, fault = _decompressed(body, unsaid, most)
        faults += [f"{unsaid} without saying so", *filter(None, [fault])]
    return body, faults


def _dechunked(body: bytes) -> tuple[bytes, str]:
    """Join the chunks of a body. From the first fault on, the stored bytes are kept."""
    chunks: list[bytes] = []
    at = 0
    while size := _CHUNK_SIZE.match(body, at):
        end = size.end() + int(size[1], 16)
        if end == size.end():
            return b"".join(chunks), ""
        chunks.append(body[size.end() : end])
        if end > len(body):
            return b"".join(chunks), "cut chunked body"
        line_end = 2 if body.startswith(b"\r\n", end) else 1 if body.startswith(b"\n", end) else 0
        at = end + line_end
        if not line_end:
            break
    if at == len(body):
        return b"".join(chunks), "cut chunked body" if body else ""
    if not chunks:
        return body, "says chunked and is not"
    return b"".join(chunks) + body[at:], "badly chunked body"


def _decompressed(body: bytes, coding: str, most: int) -> tuple[bytes, str]:
    """Decompress a body up to `most` bytes.

    If that fails, a body that is text is returned unchanged, and one that has another coding is
    decompressed by that.
    """
    if not body:
        return body, ""
    found, problem = _unpacked(body, coding, most)
    if problem and sniffed_type(body):
        return body, f"says {coding} and is not"
    if problem and not found:
        for other in ("gzip", "deflate", "zstd", "br"):
            plain, fault = _unpacked(body, other, most)
            if not fault and plain and (sniffed_type(plain) or plain.startswith(_GZIP)):
                return plain, f"says {coding} and is not"
    return found, problem and f"{problem} {coding} body"


def _unpacked(body: bytes, coding: str, most: int) -> tuple[bytes, str]:
    """Decompress up to `most` bytes; return what was found before the fault, and its kind."""
    blocks, length = [], 0
    try:
        for block in _DECOMPRESSORS[coding](body):
            blocks.append(block)
            length += len(block)
            if length >= most:
                break
    except EOFError:
        return b"".join(blocks)[:most], "cut"
    except _errors():
        return b"".join(blocks)[:most], "damaged"
    return b"".join(blocks)[:most], ""


def _errors() -> tuple[type[Exception], ...]:
    import brotli
    import zstandard

    return (zlib.error, brotli.error, zstandard.ZstdError)


def _zlib_blocks(body: bytes, wbits: int) -> Iterator[bytes]:
    begin = 0
    while True:
        decompressor = zlib.decompressobj(wbits)
        for at in range(begin, len(body), _SLICE):
            left = body[at : at + _SLICE]
            while left and not decompressor.eof:
                block, is_damaged = inflated(decompressor, left, _BLOCK)
                yield block
                if is_damaged:
                    raise zlib.error
                left = decompressor.unconsumed_tail
            if decompressor.eof:
                begin = min(at + _SLICE, len(body)) - len(decompressor.unused_data)
                break
        else:
            raise EOFError
        if wbits <= 15 or not body.startswith(_GZIP, begin):  # no further gzip member
            return


def _gzip_blocks(body: bytes) -> Iterator[bytes]:
    return _zlib_blocks(body, 31)


def _deflate_blocks(body: bytes) -> Iterator[bytes]:
    """RFC 9110 says zlib's format. Some servers send raw deflate, which browsers accept, too."""
    has_zlib_header = len(body) > 1 and body[0] & 15 == 8 and int.from_bytes(body[:2]) % 31 == 0
    return _zlib_blocks(body, 15 if has_zlib_header else -15)


def _brotli_blocks(body: bytes) -> Iterator[bytes]:
    import brotli

    decompressor, given = brotli.Decompressor(), 0
    for at in range(0, len(body), _SLICE):
        try:
            for block in _brotli_fed(decompressor, body[at : at + _SLICE]):
                given += len(block)
                yield block
        except brotli.error:
            break
        if decompressor.is_finished():
            return
    else:
        raise EOFError
    # Again, byte by byte where the fault is: what follows the end is a fault for the library, too.
    decompressor = brotli.Decompressor()
    for piece in (body[:at], *(body[i : i + 1] for i in range(at, min(at + _SLICE, len(body))))):
        for block in _brotli_fed(decompressor, piece):
            yield block[given:]
            given = max(given - len(block), 0)
        if decompressor.is_finished():
            return


def _brotli_fed(decompressor: Any, piece: bytes) -> Iterator[bytes]:
    while block := decompressor.process(piece, output_buffer_limit=_BLOCK):
        yield block
        if decompressor.is_finished():
            return
        piece = b""


def _zstd_blocks(body: bytes) -> Iterator[bytes]:
    import zstandard

    decompressor = zstandard.ZstdDecompressor().decompressobj()
    for at in range(0, len(body), _SLICE):  # at most 16 MB each, in blocks of 128 kB
        left = body[at : at + _SLICE]
        while left:
            if decompressor.eof:
                if not _ZSTD.match(left):
                    return
                decompressor = zstandard.ZstdDecompressor().decompressobj()
            yield decompressor.decompress(left)
            left = decompressor.unused_data if decompressor.eof else b""
    if not decompressor.eof:
        raise EOFError


_DECOMPRESSORS: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    "gzip": _gzip_blocks,
    "x-gzip": _gzip_blocks,
    "deflate": _deflate_blocks,
    "br": _brotli_blocks,
    "zstd": _zstd_blocks,
}
