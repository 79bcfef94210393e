"""A tokenizer's vocabulary and rules, in the form that static/local/tokenizer.js reads."""

import json
from typing import Any

import numpy as np

from webtext_gpt.characters import LETTER, NUMBER, SPACE, character_classes
from webtext_gpt.errors import UserError
from webtext_gpt.tokenizer import Tokenizer, build_char_vocabulary
from webtext_gpt.weights.gguf import gpt2_differences


def tokenizer_rules(tokenizer: Tokenizer) -> dict[str, Any]:
    """Return a tokenizer as plain values.

    They are `kind` (`bytes` or `characters`), `tokens` (the text of each id, null for an id without
    one), `special` (ids that stand for no part of a text) and `end_of_text`. Byte-level BPE also
    has `merges` (left, right and merged id, in order of rank), and the first and last code points
    of the ranges of `letters`, `numbers` and `spaces`.

    Raises:
        UserError: the tokenizer is neither GPT-2's byte-level BPE nor a character vocabulary.
    """
    contents = json.loads(tokenizer.to_json())
    tokens: list[str | None] = [None] * tokenizer.vocab_size
    for token, number in tokenizer.tokens().items():
        tokens[number] = token
    added = contents["added_tokens"]
    rules = {
        "tokens": tokens,
        "special": [token["id"] for token in added],
        "end_of_text": tokenizer.end_of_text,
    }
    if ordinary := next((token for token in added if not token["special"]), None):
        raise _refusal(f"it adds {ordinary['content']!r} as ordinary text")
    if contents["model"]["type"] == "WordLevel":
        _check_characters(contents)
        return {"kind": "characters", **rules}
    if problem := next(gpt2_differences(contents), None):
        raise _refusal(problem)
    if contents["decoder"] is None or contents["decoder"]["type"] != "ByteLevel":
        raise _refusal("its decoder is not that of bytes")
    ids = contents["model"]["vocab"]
    pairs = [m.split(" ") if isinstance(m, str) else m for m in contents["model"]["merges"]]
    return {
        "kind": "bytes",
        **rules,
        "merges": [[ids[left], ids[right], ids[left + right]] for left, right in pairs],
        "letters": _ranges(LETTER),
        "numbers": _ranges(NUMBER),
        "spaces": _ranges(SPACE),
    }


def _check_characters(contents: dict[str, Any]) -> None:
    ours = json.loads(build_char_vocabulary(["a"]).to_json())
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        if contents[part] != ours[part]:
            raise _refusal(f"its {part} is another than that of our character vocabularies")
    if long := next((token for token in contents["model"]["vocab"] if len(token) != 1), None):
        raise _refusal(f"{long!r} is not one character")


def _ranges(class_: int) -> list[list[int]]:
    """Return the first and last code point of each run of a class of characters."""
    is_member = (character_classes() == class_).astype(np.int8)
    edges = np.diff(is_member, prepend=0, append=0)
    firsts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return np.stack([firsts, ends - 1], axis=1).tolist()


def _refusal(problem: str) -> UserError:
    return UserError(
        f"export does not know this tokenizer: {problem}; it knows GPT-2's byte-level BPE and "
        "character vocabularies. Leave export out to explore the model"
    )
