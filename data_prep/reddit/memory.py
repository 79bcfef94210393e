"""Memory that decompressing a dump needs, by the header of its first frame."""

import lzma
from pathlib import Path

from webtext_gpt.data.lines import compression
from webtext_gpt.errors import UserError

PROCESS_BYTES = 350 << 20
"""Memory of a process that scans a dump, without the window; 226 MB measured for a small one."""

MAX_WINDOW = 1 << 31
"""Largest window that zstd decompresses on any machine."""

_BZ2_BYTES = 4 << 20
_ZSTD_FRAMES = b"\x28\xb5\x2f\xfd"
_HEAD_BYTES = 1 << 12


def scan_memory(path: Path) -> int:
    """Return the maximum bytes of memory that a process needs to scan a dump.

    Raises:
        UserError: The file is no dump (see `lines.compression`), or its window is too large.
    """
    kind = compression(path)
    decompressor = {".zst": _zstd_memory, ".xz": _xz_memory}.get(kind)
    return PROCESS_BYTES + (decompressor(path) if decompressor else _BZ2_BYTES)


def _zstd_memory(path: Path) -> int:
    """Return the window of the first frame that holds data, or its content if that is smaller."""
    import zstandard

    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        while head and not head.startswith(_ZSTD_FRAMES):  # a frame to be skipped, by its length
            file.seek(8 + int.from_bytes(head[4:8], "little") - len(head), 1)
            head = file.read(_HEAD_BYTES)
    if (window := _stated_window(head)) > MAX_WINDOW:
        raise UserError(
            f"{path}: compressed with a window of {window:,} bytes, but zstd decompresses at most "
            f"{MAX_WINDOW:,}; compress it again with a smaller --long"
        )
    try:
        frame = zstandard.get_frame_parameters(head)
    except zstandard.ZstdError:
        return 0  # damaged or cut short, which reading will tell
    unknown = frame.content_size == zstandard.CONTENTSIZE_UNKNOWN
    return frame.window_size if unknown else min(frame.window_size, frame.content_size)


def _stated_window(head: bytes) -> int:
    """Return the window size in a frame's header (RFC 8878, 3.1.1.1.2); 0 if it states none.

    The library does not report a size that it refuses.
    """
    single_segment = 0x20
    if len(head) < 6 or head[4] & single_segment:
        return 0
    base = 1 << (10 + (head[5] >> 3))
    return base + base // 8 * (head[5] & 7)


def _xz_memory(path: Path) -> int:
    """Return the smallest limit of the form 2^n + 1 MiB with which liblzma reads the header."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    for power in range(16, 33):
        limit = (1 << power) + (1 << 20)
        try:
            lzma.LZMADecompressor(memlimit=limit).decompress(head)
        except lzma.LZMAError as error:
            if "limit" in str(error).lower():
                continue
        except EOFError:
            pass
        return limit
    return 1 << 32
