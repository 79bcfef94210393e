r"""The definition of a word, for n-gram overlap and for de-duplication alike.

A text is normalized to NFC and lower-cased. Its words are then the matches of

    [UNSPACED]  |  [WORD minus UNSPACED]+

where WORD is a letter, mark or digit of any script, `[\p{L}\p{M}\p{N}]`, and UNSPACED is the part
of WORD that belongs to a script written without spaces: Han, Hiragana, Katakana, Thai, Lao, Khmer
and Burmese. Such a character is a word of its own, because otherwise a whole clause would be one
word. All other characters only separate words. For spaced scripts these are the lower-cased
alphanumeric words of the GPT-2 paper (section 4). Lower case is that of `str.lower`.

This module turns the definition into two tables by code point, with which `word_passes` reads
texts. Texts with characters whose NFC or lower case depends on their neighbors are rewritten first.
"""

import unicodedata
from functools import cache

import numpy as np
import numpy.typing as npt

WORDS_VERSION = "nfc-lower-alnum-v2"
"""Name of this definition, in the manifests and filters that depend on it."""

UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"

SEPARATOR, LETTER, ALONE, REWRITE = 0, 1, 2, 3
"""Classes of a character: a separator, part of a word, a word, or decided by its neighbors."""

Classes = npt.NDArray[np.uint8]
Lower = npt.NDArray[np.uint32]

_CODE_POINTS = 0x110000
_ASSIGNED = (range(0x34000), range(0xE0100, 0xE01F0))  # all letters, marks and digits are here


def rewrite(text: str) -> str:
    """Normalize a text to NFC and lower-case it."""
    return unicodedata.normalize("NFC", text).lower()


@cache
def tables() -> tuple[Classes, Lower]:
    """Return tables by code point: the class, and the UTF-8 bytes of the lower case, packed.

    Characters whose NFC or lower case depends on their neighbors are of the class REWRITE.
    """
    kinds, lower = rewritten_tables()
    kinds = kinds.copy()
    composed = ""  # characters that compose with one before them
    for char in _assigned():
        parts = unicodedata.decomposition(char).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            composed += chr(int(parts[1], 16))
        if (
            unicodedata.combining(char)
            or not unicodedata.is_normalized("NFC", char)
            or len(char.lower()) > 1
        ):
            kinds[ord(char)] = REWRITE
    kinds[_code_points(composed + "Σ")] = REWRITE  # Σ becomes ς at the end of a word
    kinds[0x1161:0x1176] = kinds[0x11A8:0x11C3] = REWRITE  # jamo that compose with a syllable
    return kinds, lower


@cache
def rewritten_tables() -> tuple[Classes, Lower]:
    """Return the tables for texts that were rewritten: no character is of the class REWRITE."""
    import regex

    kinds = np.full(_CODE_POINTS, SEPARATOR, np.uint8)
    lower = np.zeros(_CODE_POINTS, np.uint32)
    words = "".join(char for char in _assigned() if unicodedata.category(char)[0] in "LMN")
    codes = _code_points(words)
    kinds[codes] = LETTER
    kinds[_code_points("".join(regex.findall(UNSPACED, words)))] = ALONE
    lower[codes] = _packed(_code_points("".join(char.lower()[0] for char in words)))
    return kinds, lower


@cache
def _assigned() -> str:
    """Return all assigned code points that can be letters, marks or digits."""
    chars = (chr(code) for codes in _ASSIGNED for code in codes)
    return "".join(char for char in chars if unicodedata.category(char) not in ("Cn", "Cs"))


def _code_points(text: str) -> Lower:
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def _packed(codes: Lower) -> Lower:
    """Pack the UTF-8 bytes of code points into integers, the first byte lowest."""
    tail = [0x80 | (codes >> (6 * place) & 0x3F) for place in range(3)]
    two = 0xC0 | codes >> 6 | tail[0] << 8
    three = 0xE0 | codes >> 12 | tail[1] << 8 | tail[0] << 16
    four = 0xF0 | codes >> 18 | tail[2] << 8 | tail[1] << 16 | tail[0] << 24
    return np.select([codes < 0x80, codes < 0x800, codes < 0x10000], [codes, two, three], four)
