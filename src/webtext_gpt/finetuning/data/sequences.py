"""Texts as fine-tuning reads them: token sequences with start, delimiter and extract tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from webtext_gpt.errors import UserError
from webtext_gpt.model import ClassifierConfig
from webtext_gpt.tokenizer import Tokenizer


@dataclass(frozen=True)
class Sequences:
    """Token sequences of texts, and how many of these were too long."""

    tokens: list[np.ndarray]
    """Of each text `(T,)` ids, or `(2, T)`: a pair both ways round."""
    starts: np.ndarray
    """`(n,)` position of the first token of each that is to be learned: 1, or the completion's."""
    truncated: int
    """Texts that lost tokens."""

    @property
    def lengths(self) -> np.ndarray:
        """`(n,)` tokens of each sequence."""
        return np.array([tokens.shape[-1] for tokens in self.tokens], dtype=np.int64)


def encode_texts(
    tokenizer: Tokenizer,
    config: ClassifierConfig,
    block_size: int,
    texts: Sequence[str],
    seconds: Sequence[str] | None = None,
) -> Sequences:
    """`[start] text [delimiter second] extract` of each text (Radford et al. 2018, figure 1).

    A text that does not fit loses its end; of a pair, the longer one does, until both fit.

    Args:
        tokenizer: the model's.
        config: which special tokens there are, and whether pairs are read both ways round.
        block_size: most tokens of a sequence.
        texts: one a row.
        seconds: the second texts of pairs.

    Raises:
        UserError: a text cannot be encoded; or the context is too short for any.
    """
    start, delimiter, extract = (
        [] if token is None else [token]
        for token in (config.start_token_id, config.delimiter_token_id, config.extract_token_id)
    )
    room = block_size - len(start) - len(extract) - (len(delimiter) if seconds is not None else 0)
    if room < 1:
        raise UserError(f"a context of {block_size} tokens has no room for text")
    firsts = tokenizer.encode_batch(list(texts))
    tokens, truncated = [], 0
    if seconds is None:
        for text in firsts:
            truncated += len(text) > room
            tokens.append(np.concatenate((start, text[:room], extract)).astype(np.int64))
    else:
        for first, second in zip(firsts, tokenizer.encode_batch(list(seconds)), strict=True):
            truncated += len(first) + len(second) > room
            a, b = _fitting(len(first), len(second), room)
            there = np.concatenate((start, first[:a], delimiter, second[:b], extract))
            if config.both_orders:
                back = np.concatenate((start, second[:b], delimiter, first[:a], extract))
                there = np.stack((there, back))
            tokens.append(there.astype(np.int64))
    return Sequences(tokens, np.ones(len(tokens), dtype=np.int64), truncated)


def encode_completions(
    tokenizer: Tokenizer,
    block_size: int,
    prompts: Sequence[str],
    completions: Sequence[str],
    between: str,
) -> Sequences:
    """`prompt between completion <|endoftext|>` of each row, as `generate.py` continues prompts.

    A completion may take half of the context, and more where its prompt leaves it; what does not
    fit is cut from its end, and from the prompt's, before `between`.

    Args:
        tokenizer: the model's.
        block_size: most tokens of a sequence.
        prompts: one a row.
        completions: one a row.
        between: what stands between the two.

    Raises:
        UserError: a text cannot be encoded.
    """
    end = [tokenizer.end_of_text]
    tokens, starts, truncated = [], [], 0
    for prompt, completion in zip(
        tokenizer.encode_batch([prompt + between for prompt in prompts]),
        tokenizer.encode_batch(list(completions)),
        strict=True,
    ):
        given = prompt if len(prompt) else np.array(end)  # the first token needs one before it
        kept = completion[: max(block_size - 1 - len(given), block_size // 2)]
        head = shortened(tokenizer, given, between, block_size - 1 - len(kept))
        truncated += len(kept) < len(completion) or len(head) < len(given)
        tokens.append(np.concatenate((head, kept, end)).astype(np.int64))
        starts.append(len(head))
    return Sequences(tokens, np.array(starts, dtype=np.int64), truncated)


def shortened(tokenizer: Tokenizer, prompt: np.ndarray, between: str, most: int) -> np.ndarray:
    """Ids of a prompt, `between` still at its end, with at most `most` tokens (at least 1)."""
    if len(prompt) <= most:
        return prompt
    middle = tokenizer.encode(between)[:most]
    return np.concatenate((prompt[: most - len(middle)], middle)).astype(prompt.dtype)


def _fitting(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens of either text stay, the longer one losing first."""
    if first + second <= room:
        return first, second
    half = room // 2
    if min(first, second) <= half:
        return (first, room - first) if first <= second else (room - second, second)
    return room - half, half
