"""The ids of `Tokenizer.encode` by tiktoken, which takes a third of the time.

tiktoken merges two neighbours wherever their bytes together are a token, the earliest token
first; `tokenizers` merges listed pairs. With byte-level BPE whose ids ascend in the order of its
merges, as GPT-2's and ours do, that is the same. A tokenizer of another kind, and a text that
tiktoken cannot cut (a million spaces in a row), go the slow way.
"""

import json
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from webtext_gpt.errors import UserError
from webtext_gpt.tokenizer import END_OF_TEXT, GPT2_PATTERN, Tokenizer

Encode = Callable[[str], np.ndarray]
"""From a text to its token ids, uint32."""


def fast_encoder(tokenizer: Tokenizer) -> Encode:
    """An encoder of single texts, on one core, with the ids of `tokenizer`.

    Raises, when called, UserError where `tokenizer.encode` does.
    """

    def slowly(text: str) -> np.ndarray:
        return tokenizer.encode_batch([text])[0]

    ranks = _mergeable_ranks(tokenizer)
    if ranks is None:
        return slowly
    import tiktoken

    # `<|endoftext|>` in a document is text: tiktoken is not told of it.
    encoding = tiktoken.Encoding(
        "webtext-gpt", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens={}
    )

    def quickly(text: str) -> np.ndarray:
        try:
            text.encode()
        except UnicodeEncodeError as error:  # tiktoken would write U+FFFD
            raise UserError(
                f"character {error.start} is half of a surrogate pair and has no UTF-8 bytes"
            ) from error
        try:
            ids: np.ndarray = encoding.encode_to_numpy(
                text, allowed_special=set(), disallowed_special=()
            )
        except ValueError:  # its regular expression ran out of stack
            return slowly(text)
        return ids

    return quickly


def _mergeable_ranks(tokenizer: Tokenizer) -> dict[bytes, int] | None:
    """Each token's bytes and id; None where ids do not ascend as merges, or cuts are others."""
    plain = json.loads(tokenizer.to_json())
    model, cuts = plain["model"], plain.get("pre_tokenizer") or {}
    steps = cuts.get("pretokenizers", [])
    if (
        model["type"] != "BPE"
        or plain["normalizer"] is not None
        or [step["type"] for step in steps] != ["Split", "ByteLevel"]
        or steps[0]["pattern"] != {"Regex": GPT2_PATTERN}
        or steps[1]["add_prefix_space"]
    ):
        return None
    vocab: dict[str, int] = {t: i for t, i in model["vocab"].items() if t != END_OF_TEXT}
    merged = [vocab.get("".join(pair), -1) for pair in model["merges"]]
    bytes_of = _byte_alphabet()
    single = [token for token in vocab if len(token) == 1]
    ascending = all(one < other for one, other in pairwise(merged))
    if not ascending or len(single) != 256 or len(merged) + 256 != len(vocab):
        return None
    return {bytes(bytes_of[c] for c in token): number for token, number in vocab.items()}


def _byte_alphabet() -> dict[str, int]:
    """Which byte each of GPT-2's 256 printable stand-ins is."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    stand_ins = {chr(256 + number): byte for number, byte in enumerate(hidden)}
    return {chr(byte): byte for byte in shown} | stand_ins
