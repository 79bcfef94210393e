"""Body of an HTTP response as it is stored: undo its transfer and content codings.

Servers and archives often declare a coding that the body does not have, or cut a body short. Then
the stored bytes are used, or what could be decoded of them, and the fault is named.
"""

import re
import zlib
from collections.abc import Callable, Iterator, Sequence

from data_prep.crawl.mime import sniffed_type

_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r?\n")
_SLICE = 512  # bytes that are decompressed at a time
_BLOCK = 1 << 16  # bytes that become of them at most
_GZIP = b"\x1f\x8b\x08"


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
    if body.startswith(_GZIP):
        body, fault = _decompressed(body, "gzip", most)
        faults += ["gzip without saying so", *filter(None, [fault])]
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
    """Decompress a body up to `most` bytes, or return it unchanged if it is text already."""
    blocks, length, problem = [], 0, ""
    try:
        for block in _DECOMPRESSORS[coding](body):
            blocks.append(block)
            length += len(block)
            if length >= most:
                break
    except EOFError:
        problem = f"cut {coding} body"
    except _errors():
        problem = f"damaged {coding} body"
    if not body:
        return body, ""
    if problem and sniffed_type(body):
        return body, f"says {coding} and is not"
    return b"".join(blocks)[:most], problem


def _errors() -> tuple[type[Exception], ...]:
    import brotli
    import zstandard

    return (zlib.error, brotli.error, zstandard.ZstdError)


def _zlib_blocks(body: bytes, wbits: int) -> Iterator[bytes]:
    decompressor = zlib.decompressobj(wbits)
    for at in range(0, len(body), _SLICE):  # a call that fails returns nothing, so few bytes each
        left = body[at : at + _SLICE]
        while left and not decompressor.eof:
            yield decompressor.decompress(left, _BLOCK)
            left = decompressor.unconsumed_tail
        if decompressor.eof:
            following = decompressor.unused_data + body[at + _SLICE :]
            if wbits > 15 and following.startswith(_GZIP):  # a further gzip member
                yield from _zlib_blocks(following, wbits)
            return
    raise EOFError


def _gzip_blocks(body: bytes) -> Iterator[bytes]:
    return _zlib_blocks(body, 31)


def _deflate_blocks(body: bytes) -> Iterator[bytes]:
    """RFC 9110 says zlib's format. Some servers send raw deflate, which browsers accept, too."""
    has_zlib_header = len(body) > 1 and body[0] & 15 == 8 and int.from_bytes(body[:2]) % 31 == 0
    return _zlib_blocks(body, 15 if has_zlib_header else -15)


def _brotli_blocks(body: bytes) -> Iterator[bytes]:
    import brotli

    decompressor = brotli.Decompressor()
    block = decompressor.process(body, output_buffer_limit=_BLOCK)
    while block or not decompressor.is_finished():
        if not block:
            raise EOFError
        yield block
        block = b"" if decompressor.is_finished() else decompressor.process(
            b"", output_buffer_limit=_BLOCK
        )  # fmt: skip


def _zstd_blocks(body: bytes) -> Iterator[bytes]:
    import zstandard

    decompressor = zstandard.ZstdDecompressor().decompressobj()
    for at in range(0, len(body), _SLICE):  # at most 16 MB each, in blocks of 128 kB
        yield decompressor.decompress(body[at : at + _SLICE])
        if decompressor.eof:
            return
    raise EOFError


_DECOMPRESSORS: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    "gzip": _gzip_blocks,
    "x-gzip": _gzip_blocks,
    "deflate": _deflate_blocks,
    "br": _brotli_blocks,
    "zstd": _zstd_blocks,
}
