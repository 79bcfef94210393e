"""Tokens as the page shows them: id, text, bytes, and values computed for each."""

from collections.abc import Sequence
from typing import Any

from webtext_gpt.tokenizer import Tokenizer


def described(
    tokenizer: Tokenizer, ids: Sequence[int], **columns: Sequence[Any]
) -> list[dict[str, Any]]:
    """Return the `id`, `text` and `bytes` of each token.

    The text is the token's alone, with U+FFFD where its bytes are not UTF-8. A special token has
    no bytes, since it stands for no part of a text.

    Args:
        tokenizer: the model's.
        ids: token ids.
        columns: further values by name, one for each token.
    """
    texts = tokenizer.decode_batch([[token] for token in ids])
    tokens = [
        {"id": token, "text": text, "bytes": list(tokenizer.token_bytes(token))}
        for token, text in zip(ids, texts, strict=True)
    ]
    for name, values in columns.items():
        for token, value in zip(tokens, values, strict=True):
            token[name] = value
    return tokens
