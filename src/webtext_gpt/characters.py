"""Classes of characters, as GPT-2's pattern distinguishes them."""

from functools import cache

import numpy as np
import numpy.typing as npt
from tokenizers import Regex, pre_tokenizers

OTHER, LETTER, NUMBER, SPACE = 0, 1, 2, 3

_CODE_POINTS = 0x110000
_CLASSES_END = 0x34000  # no letter, number or space has a higher code point


@cache
def character_classes() -> npt.NDArray[np.uint8]:
    """Return the class of each code point, as the regular expressions of `tokenizers` see it.

    The classes come from `tokenizers` itself, so both sides use the same version of Unicode.
    """
    classes = np.zeros(_CODE_POINTS, np.uint8)
    points = [c for c in range(_CLASSES_END) if not 0xD800 <= c < 0xE000]
    text = "".join(map(chr, points))
    index = np.array(points)
    for name, pattern in ((LETTER, r"\p{L}+"), (NUMBER, r"\p{N}+"), (SPACE, r"\s+")):
        # "removed" drops the matches, so the characters outside the returned spans matched.
        rest = pre_tokenizers.Split(Regex(pattern), "removed").pre_tokenize_str(text)
        matched = np.ones(len(points), np.bool_)
        for _, (start, end) in rest:
            matched[start:end] = False
        classes[index[matched]] = name
    return classes
