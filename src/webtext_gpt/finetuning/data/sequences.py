"""Token sequences of texts with their start, delimiter and extract tokens, and padded batches."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from webtext_gpt.errors import UserError
from webtext_gpt.generation.prompts import ended, shortened
from webtext_gpt.model import ClassifierConfig
from webtext_gpt.tokenizer import Tokenizer

Item = tuple[np.ndarray, int, float, int]
"""Tokens, start, target and sample number of one example."""


@dataclass(frozen=True)
class Sequences:
    """Token sequences, one per text or pair of texts."""

    tokens: list[np.ndarray]
    """Each `(T,)` ids, or `(2, T)`: a pair in both orders."""
    starts: np.ndarray
    """`(n,)` position of the first token to learn: 1, or where the completion begins."""
    truncated: int
    """Number of texts that lost tokens."""

    @property
    def lengths(self) -> np.ndarray:
        """`(n,)` tokens of each sequence."""
        return np.array([tokens.shape[-1] for tokens in self.tokens], dtype=np.int64)


class EncodedExamples(NamedTuple):
    """Token sequences with their targets."""

    sequences: Sequences
    targets: np.ndarray
    """`(n,)` int64 class numbers, or float32 regression targets."""
    places: list[str]
    """Location that each example was read from, for messages."""

    def item(self, row: int, sample: int) -> Item:
        """Return the example of a row, with its sample number, for `collate`."""
        sequences, targets, _ = self
        return sequences.tokens[row], sequences.starts[row], targets[row], sample

    def sha256(self) -> str:
        """Return a hash of all token sequences and targets."""
        digest = hashlib.sha256(self.targets.tobytes())
        for tokens, start in zip(self.sequences.tokens, self.sequences.starts, strict=True):
            digest.update(f"{tokens.shape} {start} ".encode())
            digest.update(tokens.tobytes())
        return digest.hexdigest()


class ExampleBatch(NamedTuple):
    """Examples of one forward pass."""

    tokens: Tensor
    """`(B, T)` ids, padded on the right; `(B, 2, T)` if pairs are read in both orders."""
    lengths: Tensor
    """`(B,)` tokens of each sequence without padding."""
    starts: Tensor
    """`(B,)` position of the first token to learn."""
    targets: Tensor
    """`(B,)` class numbers, or regression targets."""
    samples: Tensor
    """`(B,)` sample numbers in training, row numbers in validation."""


def encode_texts(
    tokenizer: Tokenizer,
    config: ClassifierConfig,
    block_size: int,
    texts: Sequence[str],
    seconds: Sequence[str] | None = None,
) -> Sequences:
    """Encode each row as `[start] text [delimiter second] extract`.

    Radford et al. 2018, figure 1. Texts that do not fit are truncated at the end, the longer text
    of a pair first.

    Args:
        tokenizer: the model's.
        config: defines the special tokens, and whether pairs are read in both orders.
        block_size: maximum tokens of a sequence.
        texts: one text per row.
        seconds: the second texts, if rows are pairs.

    Raises:
        UserError: a text cannot be encoded, or the context has no room for text.
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
    """Encode each row as `prompt between completion <|endoftext|>`.

    `generate.py` encodes prompts in the same way; a prompt that ends with `between` gets no second
    one. A completion may take half of the context, or more if its prompt is short. If the two do
    not fit, both are truncated: the completion at its end, the prompt before `between`.

    Args:
        tokenizer: the model's.
        block_size: maximum tokens of a sequence.
        prompts: one per row.
        completions: one per row.
        between: text between a prompt and its completion.

    Raises:
        UserError: a text cannot be encoded.
    """
    end = [tokenizer.end_of_text]
    tokens, starts, truncated = [], [], 0
    for prompt, completion in zip(
        tokenizer.encode_batch([ended(prompt, between) for prompt in prompts]),
        tokenizer.encode_batch(list(completions)),
        strict=True,
    ):
        given = prompt.tolist() or end  # the first learned token needs a context
        kept = completion[: max(block_size - 1 - len(given), block_size // 2)]
        head = shortened(tokenizer, given, between, block_size - 1 - len(kept))
        truncated += len(kept) < len(completion) or len(head) < len(given)
        tokens.append(np.concatenate((head, kept, end)).astype(np.int64))
        starts.append(len(head))
    return Sequences(tokens, np.array(starts, dtype=np.int64), truncated)


def collate(items: Sequence[Item], pad: int) -> ExampleBatch:
    """Make a batch of examples, padding their sequences with the id `pad`."""
    tokens, starts, targets, samples = zip(*items, strict=True)
    padded, lengths = pad_right(tokens, pad)
    return ExampleBatch(
        padded,
        lengths,
        torch.from_numpy(np.array(starts)),
        torch.from_numpy(np.array(targets)),
        torch.tensor(samples),
    )


def pad_right(tokens: Sequence[np.ndarray], pad: int) -> tuple[Tensor, Tensor]:
    """Pad sequences `(..., T_i)` to one tensor `(B, ..., T)`; return it and the lengths `(B,)`."""
    lengths = [sequence.shape[-1] for sequence in tokens]
    padded = np.full((len(tokens), *tokens[0].shape[:-1], max(lengths)), pad, dtype=np.int64)
    for row, sequence in enumerate(tokens):
        padded[row, ..., : lengths[row]] = sequence
    return torch.from_numpy(padded), torch.tensor(lengths)


def _fitting(first: int, second: int, room: int) -> tuple[int, int]:
    """Return how many tokens of each text fit; the longer text is truncated first."""
    if first + second <= room:
        return first, second
    half = room // 2
    if min(first, second) <= half:
        return (first, room - first) if first <= second else (room - second, second)
    return room - half, half
