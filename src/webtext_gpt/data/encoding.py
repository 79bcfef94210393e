"""Token ids of `Tokenizer.encode_batch` from compiled loops, several times as fast on one core.

The loops (`webtext_gpt.data.bpe_loops`) implement byte-level BPE with GPT-2's pre-tokenization.
`FastEncoder` recognizes the tokenizers they are exact for and turns their vocabularies into
arrays. Other tokenizers, and texts with a piece of more than 256 bytes, use `tokenizers` itself.
"""

import json
from functools import cache
from typing import Any

import numpy as np
from tokenizers import Regex, pre_tokenizers

from webtext_gpt.data.bpe_loops import (
    CACHE_BITS,
    CACHED_IDS,
    LETTER,
    NUMBER,
    SPACE,
    Bytes,
    Ids,
    encode_texts,
    merge_table,
)
from webtext_gpt.errors import UserError
from webtext_gpt.tokenizer import END_OF_TEXT, GPT2_PATTERN, Tokenizer

_CODE_POINTS = 0x110000
_CLASSES_END = 0x34000  # no letter, number or space has a higher code point


class FastEncoder:
    """Encode texts to the same ids as a tokenizer, on one core.

    Args:
        tokenizer: any tokenizer; only byte-level BPE with GPT-2's pre-tokenization is sped up.

    Attributes:
        is_fast: whether the compiled loops are used.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        model = _gpt2_like_model(tokenizer)
        self.is_fast = model is not None
        if model is None:
            return
        vocab: dict[str, int] = model["vocab"]
        alphabet = byte_alphabet()
        self._byte_ids = np.array([vocab[alphabet[byte]] for byte in range(256)], np.uint32)
        merges = [(vocab[a], vocab[b], vocab[a + b]) for a, b in model["merges"]]
        self._merges = merge_table(np.array(merges, np.uint64).reshape(-1, 3))
        self._classes = _character_classes()
        self._cached_keys = np.zeros(1 << CACHE_BITS, np.uint64)
        self._cached_ids = np.zeros((1 << CACHE_BITS, CACHED_IDS + 1), np.uint32)

    def encode_batch(self, texts: list[str]) -> list[Ids]:
        """Return the token ids of each text, as uint32.

        Raises:
            UserError: `tokenizer.encode_batch` refuses a text.
        """
        if not self.is_fast:
            return self._tokenizer.encode_batch(texts)
        try:
            data = [text.encode() for text in texts]
        except UnicodeEncodeError as error:
            raise UserError(
                f"character {error.start} is half of a surrogate pair and has no UTF-8 bytes"
            ) from error
        starts = np.zeros(len(data) + 1, np.int64)  # byte offset of each text, then the total
        np.cumsum([len(d) for d in data], out=starts[1:])
        joined = np.frombuffer(b"".join(data), np.uint8)
        ids, stops = np.empty(starts[-1], np.uint32), np.empty(len(data), np.int64)
        encode_texts(
            joined, starts, self._classes, self._byte_ids, *self._merges,
            self._cached_keys, self._cached_ids, ids, stops,
        )  # fmt: skip
        return [
            ids[starts[number] : stops[number]]
            if stops[number] >= 0
            else self._tokenizer.encode_batch([text])[0]
            for number, text in enumerate(texts)
        ]


def _gpt2_like_model(tokenizer: Tokenizer) -> dict[str, Any] | None:
    """Return the BPE model of a tokenizer that the loops are exact for; None for any other."""
    plain = json.loads(tokenizer.to_json())
    model = plain["model"]
    supported = (
        model["type"] == "BPE"
        and plain["normalizer"] is None
        and not any(model.get(k) for k in ("dropout", "ignore_merges", "byte_fallback"))
        and not (model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"))
        and plain["truncation"] is None
        and plain["padding"] is None
        and [(t["content"], t["special"]) for t in plain["added_tokens"]] == [(END_OF_TEXT, True)]
        and _splits_as_gpt2(plain["pre_tokenizer"] or {})
        and all(token in model["vocab"] for token in byte_alphabet())
    )
    return dict(model) if supported else None


def _splits_as_gpt2(pre_tokenizer: dict[str, Any]) -> bool:
    """Return whether a pre-tokenizer splits text by GPT-2's pattern.

    `ByteLevel` has the pattern built in; otherwise a `Split` step has to state it.
    """
    if pre_tokenizer.get("type") == "ByteLevel":
        return bool(pre_tokenizer["use_regex"] and not pre_tokenizer["add_prefix_space"])
    steps = pre_tokenizer.get("pretokenizers", [])
    if [step["type"] for step in steps] != ["Split", "ByteLevel"]:
        return False
    split, byte_level = steps
    return bool(
        split["pattern"] == {"Regex": GPT2_PATTERN}
        and split["behavior"] == "Isolated"
        and not split["invert"]
        and not byte_level["add_prefix_space"]
        and not byte_level["use_regex"]
    )


def byte_alphabet() -> list[str]:
    """Return GPT-2's printable character for each of the 256 bytes."""
    shown = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in shown]
    return [chr(b) if b in shown else chr(256 + hidden.index(b)) for b in range(256)]


@cache
def _character_classes() -> Bytes:
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
