"""Best-fit packing: every training row begins at the beginning of a document.

A row is filled with the longest document that still fits, again and again; where none fits, the
shortest one left is cut to fill it. No row has padding, so all rows have equally many targets. Only
the beginning of a document longer than a row is used. The tokens cut off are left out in this
epoch; between epochs, documents of the same length change places.

nanochat's loader does the same in a buffer of 1,000 documents. Here the buffer is the whole corpus,
at the cost of a histogram: documents of the same length are interchangeable, so a plan says how
many of each length a row takes, and for how many rows. Ding et al. 2024 ("Fewer Truncations Improve
Language Modeling") pack all documents in this way too, but also begin rows inside documents that
are longer than a row, and pad.
"""

from bisect import bisect_right
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from webtext_gpt.data.sampler import derived_key, epoch_key, permute
from webtext_gpt.data.shards import TokenStream
from webtext_gpt.errors import UserError

LEAST_KEPT = 0.1
"""Smallest fraction of the training tokens that packing may keep."""


class Part(NamedTuple):
    """Documents of one length that each row of a pattern takes."""

    length: int
    first: int
    """Index, among the documents of this length, of the first one that the pattern takes."""
    documents: int
    """Documents per row."""
    tokens: int
    """Tokens of each document; fewer than `length` if it is cut."""


class Pattern(NamedTuple):
    """Rows that consist of documents of the same lengths."""

    rows: int
    parts: list[Part]
    """Longest first; a document that is cut is last."""


def best_fit(counts: npt.NDArray[np.int64]) -> list[Pattern]:
    """Return the rows that documents are packed into; the last few, too short for a row, are left.

    Args:
        counts: the number of documents of each length from 0 to that of a row, `(length + 1,)`;
            longer documents count as long as a row.
    """
    row_length = len(counts) - 1
    left = {int(length): int(counts[length]) for length in counts.nonzero()[0]}
    lengths = sorted(left)
    taken = dict.fromkeys(lengths, 0)
    patterns = []
    while lengths:
        uses: list[tuple[int, int, int]] = []  # length, documents, tokens of each
        room, end = row_length, len(lengths)
        while room and (end := bisect_right(lengths, room, hi=end) - 1) >= 0:
            length = lengths[end]
            documents = min(room // length, left[length])
            uses.append((length, documents, length))
            room -= documents * length
        used = {length: documents for length, documents, _ in uses}
        if room:
            shortest = next((n for n in lengths if left[n] > used.get(n, 0)), None)
            if shortest is None:
                break
            uses.append((shortest, 1, room))
            used[shortest] = used.get(shortest, 0) + 1
        # The choice stays the same as long as there are enough documents of each length.
        rows = min(left[length] // documents for length, documents in used.items())
        parts, first = [], dict(taken)
        for length, documents, tokens in uses:
            parts.append(Part(length, first[length], documents, tokens))
            first[length] += rows * documents
        patterns.append(Pattern(rows, parts))
        for length, documents in used.items():
            taken[length] += rows * documents
            left[length] -= rows * documents
            if not left[length]:
                lengths.remove(length)
    return patterns


class PackedRows(Dataset[tuple[Tensor, Tensor]]):
    """Endless sequence of training samples, each of which begins at the beginning of a document.

    An epoch reads each row once, in a pseudo-random order. Sample k is found without the samples
    before it; this keeps four bytes for each document in memory.

    Args:
        stream: the training split.
        block_size: tokens per sample.
        seed: selects the order of the rows, and the documents in them.

    Attributes:
        n_rows: samples in an epoch.
        epoch_tokens: tokens that an epoch reads.
        beyond: tokens that no epoch reads, since they are beyond the length of a row.

    Raises:
        UserError: packing would leave out more than nine tenths of the split.
    """

    def __init__(self, stream: TokenStream, block_size: int, seed: int) -> None:
        self.stream = stream
        self.block_size = block_size
        self.seed = seed
        lengths = stream.document_lengths()
        clipped = np.minimum(lengths, block_size).astype(np.min_scalar_type(block_size))
        self.beyond = int(lengths.sum()) - int(clipped.sum())
        counts = np.bincount(clipped, minlength=block_size + 1)
        self._patterns = best_fit(counts)
        self._by_length = np.argsort(clipped, kind="stable").astype(np.uint32)
        self._counts, self._firsts = counts, counts.cumsum() - counts
        self._last_rows = np.cumsum([pattern.rows for pattern in self._patterns], dtype=np.int64)
        self.n_rows = int(self._last_rows[-1]) if self._patterns else 0
        self.epoch_tokens = self.n_rows * block_size
        if self.epoch_tokens < LEAST_KEPT * stream.n_tokens:
            raise UserError(
                f"packing=best_fit would use {self.epoch_tokens:,} of {stream.n_tokens:,} training "
                f"tokens, since each row of model.block_size={block_size} begins a document, and "
                f"there are {stream.n_documents:,}, of "
                f"{stream.n_tokens // stream.n_documents:,} tokens on average; set packing=stream, "
                "which reads all, or another model.block_size"
            )

    def documents(self, sample: int) -> list[int]:
        """Return the numbers of the documents that a sample reads, in the order of the shards."""
        return sorted(number for number, _ in self._pieces(sample))

    def __getitem__(self, sample: int) -> tuple[Tensor, Tensor]:
        """Return the inputs and targets of one sample, both `(T,)`.

        The target of a document's last token is the end-of-text token that follows it.
        """
        places = [(self.stream.document_start(d), length) for d, length in self._pieces(sample)]
        tokens = [self.stream.read(start, length) for start, length in places]
        end = sum(places[-1])
        tokens.append(self.stream.read(end if end < self.stream.n_tokens else 0, 1))
        row = torch.from_numpy(np.concatenate(tokens))  # (T + 1,)
        return row[:-1], row[1:]

    def _pieces(self, sample: int) -> list[tuple[int, int]]:
        """Return the documents of a sample in its order, each with how much of it is read.

        Whole documents are shuffled, so that the position in a row does not tell their length.
        """
        epoch, position = divmod(sample, self.n_rows)
        key = epoch_key(self.seed, epoch)
        row = permute(position, self.n_rows, key)
        number = int(np.searchsorted(self._last_rows, row, side="right"))
        pattern = self._patterns[number]
        row_of_pattern = row - (int(self._last_rows[number]) - pattern.rows)
        whole: list[tuple[int, int]] = []
        cut: list[tuple[int, int]] = []
        for length, first, documents, tokens in pattern.parts:
            n, key_of_length = int(self._counts[length]), derived_key(key, length)
            begin = first + row_of_pattern * documents
            for index in range(begin, begin + documents):
                place = int(self._firsts[length]) + permute(index, n, key_of_length)
                piece = int(self._by_length[place]), tokens
                (whole if tokens == length else cut).append(piece)
        order = derived_key(key, self.block_size + 1 + row)  # no length has this number
        return [whole[permute(i, len(whole), order)] for i in range(len(whole))] + cut
