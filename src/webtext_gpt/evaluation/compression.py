"""What general-purpose compressors need for a text: the figure that a language model must beat."""

import lzma
import zlib
from collections.abc import Iterable


def compressed_bits_per_byte(texts: Iterable[str]) -> dict[str, float]:
    """Bits that `gzip -9` and `xz -9` need for each byte of the texts, joined by newlines.

    A language model's bits per byte, its total code length over the bytes of the same text, is
    the size that an arithmetic coder driven by it would reach.
    """
    gzip, xz = zlib.compressobj(9, wbits=16 + zlib.MAX_WBITS), lzma.LZMACompressor(preset=9)
    n_bytes = gzip_bytes = xz_bytes = 0
    for number, text in enumerate(texts):
        data = ("\n" if number else "").encode() + text.encode()
        n_bytes += len(data)
        gzip_bytes += len(gzip.compress(data))
        xz_bytes += len(xz.compress(data))
    if not n_bytes:
        return {}
    return {
        "gzip_bits_per_byte": 8 * (gzip_bytes + len(gzip.flush())) / n_bytes,
        "xz_bits_per_byte": 8 * (xz_bytes + len(xz.flush())) / n_bytes,
    }
