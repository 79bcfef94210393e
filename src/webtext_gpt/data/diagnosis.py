"""Diagnosis of text that is not UTF-8: it is damaged UTF-8, or has another encoding."""

import re
from collections.abc import Iterable
from typing import Literal

Diagnosis = Literal["UTF-8", "damaged UTF-8", "cp1252", "latin-1", "unknown"]

_BAD_RUN = re.compile("[\udc80-\udcff]+")
_C1 = re.compile("[\udc80-\udc9f]")  # printable in cp1252, control characters in Latin-1


def diagnose(lines: Iterable[bytes]) -> Diagnosis:
    """Return the likely encoding of lines of text, judged by their bytes.

    Text with more valid multi-byte sequences of UTF-8 than invalid runs of bytes is damaged UTF-8,
    since text of another encoding contains valid ones only by accident. Other text is cp1252 if
    it has bytes from 0x80 to 0x9F and decodes, Latin-1 if it has only bytes from 0xA0, and
    otherwise unknown.
    """
    valid = invalid = 0
    has_c1, fits_cp1252 = False, True
    for line in lines:
        if line.isascii():
            continue
        text = line.decode("utf-8", "surrogateescape")
        bad = _BAD_RUN.findall(text)
        valid += sum(char > "\x7f" for char in text) - sum(map(len, bad))
        invalid += len(bad)
        has_c1 = has_c1 or _C1.search(text) is not None
        fits_cp1252 = fits_cp1252 and decodes(line, "cp1252")
    if not invalid:
        return "UTF-8"
    if valid >= invalid:
        return "damaged UTF-8"
    if not has_c1:
        return "latin-1"
    return "cp1252" if fits_cp1252 else "unknown"


def decodes(line: bytes, encoding: str) -> bool:
    """Return whether a line can be decoded."""
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
