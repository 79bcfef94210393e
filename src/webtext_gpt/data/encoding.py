"""The token ids of `Tokenizer.encode_batch`, computed by compiled loops several times as fast.

The loops (`webtext_gpt.data.bpe_loops`) implement byte-level BPE with GPT-2's pre-tokenization.
`FastEncoder` recognizes the tokenizers they are exact for and turns their vocabularies into
arrays. It calls other tokenizers directly, and every tokenizer if numba is not installed.
"""

import json
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from webtext_gpt.characters import character_classes
from webtext_gpt.errors import UserError
from webtext_gpt.tokenizer import END_OF_TEXT, GPT2_PATTERN, Tokenizer

Ids = npt.NDArray[np.uint32]


def slow_because(tokenizer: Tokenizer) -> str | None:
    """Return why `FastEncoder` would not speed up a tokenizer; None if it does."""
    if _gpt2_like_model(tokenizer) is None:
        return "the tokenizer is not a byte-level BPE like GPT-2's"
    return None if find_spec("numba") else "numba, of the extra corpus, is not installed"


class FastEncoder:
    """Encode texts to the same ids as a tokenizer; several threads may do so at once.

    Args:
        tokenizer: any tokenizer; only byte-level BPE with GPT-2's pre-tokenization is sped up.

    Attributes:
        tokenizer: the tokenizer.
        is_fast: whether the compiled loops are used.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        model = _gpt2_like_model(tokenizer) if find_spec("numba") else None
        self.is_fast = model is not None
        if model is None:
            return
        from webtext_gpt.data.bpe_loops import merge_table  # numba takes a second to load

        vocab: dict[str, int] = model["vocab"]
        alphabet = byte_alphabet()
        self._byte_ids = np.array([vocab[alphabet[byte]] for byte in range(256)], np.uint32)
        merges = [(vocab[a], vocab[b], vocab[a + b]) for a, b in model["merges"]]
        self._merges = merge_table(np.array(merges, np.uint64).reshape(-1, 3))
        self._classes = character_classes()
        self._caches: list[npt.NDArray[np.uint64]] = []  # those that no thread is using

    def encode_batch(self, texts: list[str]) -> list[Ids]:
        """Return the token ids of each text, as uint32.

        Raises:
            UserError: `tokenizer.encode_batch` refuses a text.
        """
        if not self.is_fast:
            return self.tokenizer.encode_batch(texts)
        from webtext_gpt.data.bpe_loops import empty_cache, encode_texts

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
        try:
            cache = self._caches.pop()
        except IndexError:
            cache = empty_cache()
        encode_texts(
            joined, starts, self._classes, self._byte_ids, *self._merges, cache, ids, stops
        )
        self._caches.append(cache)
        return [ids[start:stop] for start, stop in zip(starts, stops, strict=False)]


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
