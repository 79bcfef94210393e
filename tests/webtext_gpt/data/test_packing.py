"""Best-fit packing, beside a packing that is written out document by document."""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from webtext_gpt.data.packing import PackedRows, best_fit
from webtext_gpt.data.shard_writer import write_shards
from webtext_gpt.data.shards import TokenShards, TokenStream
from webtext_gpt.errors import UserError
from webtext_gpt.tokenizer import build_char_vocabulary

LETTERS = "".join(map(chr, range(0x4E00, 0x4E00 + 5000)))
TOKENIZER = build_char_vocabulary([LETTERS])
END = TOKENIZER.end_of_text


def _counts(lengths: list[int], row: int) -> np.ndarray:
    return np.bincount(np.minimum(lengths, row), minlength=row + 1)


def _plain_best_fit(lengths: list[int], row: int) -> list[list[tuple[int, int]]]:
    """Pack one document at a time; a row is a list of (length, tokens that are read)."""
    left, rows = sorted(min(length, row) for length in lengths), []
    while left:
        parts, room = [], row
        while room:
            fitting = [length for length in left if length <= room]
            chosen = fitting[-1] if fitting else left[0] if left else None
            if chosen is None:
                return rows
            left.remove(chosen)
            parts.append((chosen, min(chosen, room)))
            room -= parts[-1][1]
        rows.append(parts)
    return rows


def test_a_packing_worked_out_by_hand() -> None:
    """Rows of 10. 12 is cut to 10; 9 leaves 1, for which the shortest, a 2, is cut; 7 + 3; 6 + 4.

    Two documents of 2 tokens are left, which do not fill a row.
    """
    patterns = best_fit(_counts([12, 9, 7, 6, 4, 3, 2, 2, 2], 10))
    rows = [
        [(part.length, part.tokens) for part in pattern.parts for _ in range(part.documents)]
        for pattern in patterns
    ]
    assert [pattern.rows for pattern in patterns] == [1, 1, 1, 1]
    assert rows == [[(10, 10)], [(9, 9), (2, 1)], [(7, 7), (3, 3)], [(6, 6), (4, 4)]]


@pytest.mark.parametrize("seed", range(30))
def test_patterns_are_the_rows_of_packing_one_document_at_a_time(seed: int) -> None:
    draw = random.Random(seed)
    row, longest = draw.randint(1, 40), draw.randint(1, 60)
    lengths = [draw.randint(1, longest) for _ in range(draw.randint(1, 400))]
    rows = [
        [(part.length, part.tokens) for part in pattern.parts for _ in range(part.documents)]
        for pattern in best_fit(_counts(lengths, row))
        for _ in range(pattern.rows)
    ]
    assert rows == _plain_best_fit(lengths, row)


@pytest.fixture
def split(tmp_path: Path) -> Callable[..., TokenStream]:
    """`split(lengths)`: documents of so many tokens, each token of which occurs only once."""

    def _split(lengths: list[int]) -> TokenStream:
        letters = iter(LETTERS)
        folder = tmp_path / f"shards-{sum(lengths)}"
        documents = [("train", "".join(next(letters) for _ in range(n - 1))) for n in lengths]
        documents.append(("validation", LETTERS[:50]))
        write_shards(documents, TOKENIZER, folder, {}, shard_tokens=400)
        return TokenShards(folder).split("train")

    return _split


def _lengths(seed: int, n: int = 150) -> list[int]:
    draw = random.Random(seed)
    return [draw.choice([2, 3, 4, 7, 15, 16, 17, 31, draw.randint(2, 45)]) for _ in range(n)]


@pytest.mark.parametrize("seed", range(4))
def test_an_epoch_reads_every_kept_token_once_from_rows_that_begin_documents(
    split: Callable[..., TokenStream], seed: int
) -> None:
    lengths = _lengths(seed)
    stream, T = split(lengths), 16
    assert len(stream._maps) > 2  # documents of several files
    documents = [document.tolist() for document in stream.documents()]
    assert [len(document) + 1 for document in documents] == lengths
    successor = {a: b for d in documents for a, b in zip(d, [*d[1:], END], strict=True)}
    begins = {document[0]: number for number, document in enumerate(documents)}
    rows = PackedRows(stream, T, seed=seed)
    cut: list[set[int]] = []
    for epoch in range(3):
        seen: Counter[int] = Counter()
        read = 0
        cut.append(set())
        for sample in range(epoch * rows.n_rows, (epoch + 1) * rows.n_rows):
            inputs, targets = (half.tolist() for half in rows[sample])
            assert len(inputs) == len(targets) == T
            assert min(targets) >= 0  # no padding: every target counts
            assert inputs[0] == END
            assert targets[:-1] == inputs[1:]
            assert targets[-1] == successor.get(inputs[-1], targets[-1])
            pieces = "".join(chr(token) for token in inputs).split(chr(END))[1:]
            numbers = []
            for place, piece in enumerate(pieces):
                tokens = [ord(char) for char in piece]
                first = tokens[0] if tokens else targets[-1]  # only end-of-text was read
                number = begins[first]
                numbers.append(number)
                assert tokens == documents[number][: len(tokens)]
                if len(tokens) < len(documents[number]):
                    assert place == len(pieces) - 1  # only the last one is cut
                    cut[-1].add(number)
            assert rows.documents(sample) == sorted(numbers)
            seen.update(numbers)
            read += T
        assert max(seen.values()) == 1  # so each of its tokens is read once
        assert read == rows.epoch_tokens == rows.n_rows * T
        missing = sum(lengths) - read
        assert missing == stream.n_tokens - rows.epoch_tokens
        assert rows.beyond == sum(max(0, n - T) for n in lengths)
        assert rows.beyond <= missing
        assert all(number in cut[-1] for number in seen if lengths[number] > T)
    assert cut[0] != cut[1]  # other documents of the same lengths


def test_order_depends_on_seed_and_epoch(split: Callable[..., TokenStream]) -> None:
    stream = split(_lengths(1))
    rows, again, other = (PackedRows(stream, 16, seed) for seed in (1, 1, 2))
    n = rows.n_rows

    def epoch(of: PackedRows, number: int) -> list[list[int]]:
        return [of[number * n + k][0].tolist() for k in range(n)]

    assert epoch(rows, 0) == epoch(again, 0)
    assert epoch(rows, 0) != epoch(rows, 1)
    assert epoch(rows, 0) != epoch(other, 0)
    firsts = [len(row) - row[::-1].index(END) for row in epoch(rows, 0)]
    assert len(set(firsts)) > 3


def test_documents_that_leave_out_nine_tenths_are_refused(
    split: Callable[..., TokenStream],
) -> None:
    with pytest.raises(UserError, match=r"packing=best_fit would use 16 of 200 .*block_size=16.*"):
        PackedRows(split([200]), 16, seed=0)
    with pytest.raises(UserError, match="would use 0 of 9 .*packing=stream"):
        PackedRows(split([9]), 16, seed=0)
