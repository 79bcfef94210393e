"""What general-purpose compressors need for a text: the figure that a language model must beat."""

import gzip
import lzma
from collections.abc import Iterable


def compressed_bits_per_byte(texts: Iterable[str]) -> dict[str, float]:
    """Bits that `gzip -9` and `xz -9` need for each byte of the texts, joined by newlines.

    A language model's bits per byte, its total code length over the bytes of the same text, is
    the size that an arithmetic coder driven by it would reach.
    """
    data = "\n".join(texts).encode()
    if not data:
        return {}
    return {
        "gzip_bits_per_byte": 8 * len(gzip.compress(data, compresslevel=9)) / len(data),
        "xz_bits_per_byte": 8 * len(lzma.compress(data, preset=9)) / len(data),
    }
