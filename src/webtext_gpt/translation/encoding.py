"""Sentence pairs as token sequences, and padded batches of them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from webtext_gpt.data.pair_layout import decoder_input, decoder_target, source_ids
from webtext_gpt.data.pairs import Files
from webtext_gpt.errors import UserError
from webtext_gpt.model import IGNORED
from webtext_gpt.pair_tokenizer import source_tokenizer
from webtext_gpt.tokenizer import EncodingError, Tokenizer

Ids = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class EncodedPairs:
    """Token ids of the pairs of one split, without `<|endoftext|>`."""

    name: str
    """File of the sources, for messages."""
    sources: list[Ids]
    targets: list[Ids]
    source_end: int
    """Id of the `<|endoftext|>` that ends a source."""
    target_end: int
    """Id of the `<|endoftext|>` that begins and ends a target."""
    lines: list[int]
    """Line of each pair."""
    empty: list[int]
    """Lines left out because a side is empty."""
    too_long: list[int]
    """Lines left out because a side does not fit the context."""

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def lengths(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Lengths `(n,)` of the model's inputs, sources and targets, each with one special id."""
        return _lengths(self.sources), _lengths(self.targets)

    def sha256(self) -> str:
        """Return a hash of all ids."""
        digest = hashlib.sha256()
        for side in (self.sources, self.targets):
            for ids in side:
                digest.update(np.uint32(len(ids)).tobytes() + ids.tobytes())
        return digest.hexdigest()


def _lengths(side: Sequence[Ids]) -> npt.NDArray[np.int64]:
    return np.fromiter((len(ids) + 1 for ids in side), dtype=np.int64, count=len(side))


class PairBatch(NamedTuple):
    """Pairs of one forward pass."""

    source: Tensor
    """`(B, S)` ids, padded on the right."""
    lengths: Tensor
    """`(B,)` lengths of the sources."""
    inputs: Tensor
    """`(B, T)` inputs of the decoder."""
    targets: Tensor
    """`(B, T)` ids to predict, `IGNORED` where there is none."""
    weight: Tensor
    """Factor of the summed loss; the mean over the step's passes and devices then is the mean over
    all targets of the global batch."""


def encode_pairs(
    tokenizer: Tokenizer, files: Files, block_size: int, checkpoint: str = ""
) -> EncodedPairs:
    """Return the pairs of a split as token ids; pairs that do not fit the context are left out.

    Args:
        tokenizer: the model's.
        files: the pairs.
        block_size: longest source and longest target, with their special id.
        checkpoint: the checkpoint that the tokenizer comes from, if any, for messages.

    Raises:
        UserError: the tokenizer cannot encode a text, or no pair fits.
    """
    of_sources = source_tokenizer(tokenizer)
    try:
        sources = of_sources.encode_batch(files.sources)
        targets = tokenizer.encode_batch(files.targets)
    except EncodingError as error:
        brought = f" of checkpoint={checkpoint}" if checkpoint else ""
        raise UserError(
            f"the tokenizer{brought} cannot encode {files.name} or its translations: {error}; "
            "take a byte-level tokenizer (tokenizer=trained), or a model that was trained with one"
        ) from error
    fits = [
        max(len(source), len(target)) < block_size
        for source, target in zip(sources, targets, strict=True)
    ]
    lines = [pair.line for pair in files.pairs]
    too_long = [line for line, fit in zip(lines, fits, strict=True) if not fit]
    if not any(fits):
        raise UserError(
            f"{files.name}: no pair fits model.block_size={block_size}, the longest source and "
            f"target in tokens; line {lines[0]:,} has {len(sources[0])} and {len(targets[0])}"
        )
    kept = [number for number, fit in enumerate(fits) if fit]
    return EncodedPairs(
        files.name,
        [sources[number] for number in kept],
        [targets[number] for number in kept],
        of_sources.end_of_text,
        tokenizer.end_of_text,
        [lines[number] for number in kept],
        files.empty,
        too_long,
    )


def collate(pairs: EncodedPairs, rows: Sequence[int], parts: float) -> PairBatch:
    """Return the padded batch of some rows.

    Args:
        pairs: all pairs.
        rows: numbers of the pairs; if there are none, a row without targets stands for them.
        parts: number of passes of the step over all devices, divided by the number of targets of
            the global batch.
    """
    given = [(pairs.sources[r].tolist(), pairs.targets[r].tolist()) for r in rows]
    end = pairs.target_end
    sources = [source_ids(source, pairs.source_end) for source, _ in given]
    inputs = [decoder_input(target, end) for _, target in given]
    targets = [decoder_target(target, end) for _, target in given]
    if not given:
        sources, inputs, targets = [[pairs.source_end]], [[end]], [[IGNORED]]
    return PairBatch(
        _padded(sources, pairs.source_end),
        torch.tensor([len(source) for source in sources]),
        _padded(inputs, end),
        _padded(targets, IGNORED),
        torch.tensor(parts, dtype=torch.float32),
    )


def _padded(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    return pad_sequence([torch.tensor(row) for row in rows], True, value)
