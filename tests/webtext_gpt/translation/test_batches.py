"""Batches of tokens: counted order, bounded sizes, and parts that add up."""

import numpy as np
import pytest

from webtext_gpt.data.pairs import Files, Pair
from webtext_gpt.errors import UserError
from webtext_gpt.model import IGNORED
from webtext_gpt.tokenizer import build_char_vocabulary
from webtext_gpt.translation.batches import TokenBatches
from webtext_gpt.translation.datamodule import NOBODY, PairData
from webtext_gpt.translation.encoding import EncodedPairs, collate, encode_pairs

DRAW = np.random.default_rng(0)
SOURCES = DRAW.integers(2, 30, 500)
TARGETS = np.maximum(2, SOURCES + DRAW.integers(-5, 6, 500))
TOKENIZER = build_char_vocabulary(["abcdef"])  # a = 0, ..., f = 5, the end of a text = 6


def _batches(tokens: int = 200, seed: int = 1) -> TokenBatches:
    return TokenBatches(SOURCES, TARGETS, tokens, seed)


def test_an_epoch_has_each_pair_once_in_batches_within_the_limit() -> None:
    batches = _batches()
    for epoch in (0, 3):
        numbers = range(epoch * batches.per_epoch, (epoch + 1) * batches.per_epoch)
        rows = [batches.rows(number) for number in numbers]
        assert sorted(np.concatenate(rows).tolist()) == list(range(500))
        for batch in rows:
            assert len(batch) * SOURCES[batch].max() <= 200
            assert len(batch) * TARGETS[batch].max() <= 200


def test_pairs_of_a_batch_have_similar_lengths() -> None:
    batches = _batches()
    longer = np.maximum(SOURCES, TARGETS)
    padded = sum(
        len(rows) * longer[rows].max()
        for rows in (batches.rows(number) for number in range(batches.per_epoch))
    )
    assert longer.sum() / padded > 0.9  # in random order it is about 0.6


def test_the_order_depends_on_the_seed_and_the_number_alone() -> None:
    one, other = _batches(), _batches()
    asked = [0, 5, 400, 7, 1]  # of other epochs, forwards and backwards
    for number in asked:
        assert one.rows(number).tolist() == other.rows(number).tolist()
    fresh = _batches().rows(400).tolist()
    assert other.rows(400).tolist() == fresh
    assert _batches(seed=2).rows(0).tolist() != one.rows(0).tolist()
    n = one.per_epoch
    assert [one.rows(b).tolist() for b in range(3)] != [one.rows(n + b).tolist() for b in range(3)]


def test_parts_of_a_batch_are_the_batch_and_weigh_the_mean_over_its_targets() -> None:
    batches = _batches(tokens=60)  # two pairs of the longest, fewer than the parts
    for number in range(batches.per_epoch):
        parts = [batches.part(number, part, 4) for part in range(4)]
        whole = batches.rows(number)
        assert np.concatenate([rows for rows, _ in parts]).tolist() == whole.tolist()
        for _, weight in parts:
            # The trainer divides the sum of four parts by four.
            assert weight / 4 * TARGETS[whole].sum() == pytest.approx(1)
    assert any(len(rows) == 0 for rows, _ in (batches.part(b, 3, 4) for b in range(40)))


def test_a_batch_that_does_not_hold_the_longest_pair_is_refused() -> None:
    longest = max(SOURCES.max(), TARGETS.max())
    with pytest.raises(UserError, match=f"does not hold the longest pair, of {longest} tokens"):
        _batches(tokens=int(longest) - 1)


def _encoded(*pairs: tuple[str, str], block_size: int = 5) -> EncodedPairs:
    listed = [Pair(*pair, line) for line, pair in enumerate(pairs, 1)]
    return encode_pairs(TOKENIZER, Files("f", listed, []), block_size)


def test_sequences_begin_and_end_as_translation_reads_them() -> None:
    batch = collate(_encoded(("ab", "c"), ("d", "efa")), [1, 0], 0.25)
    assert batch.source.tolist() == [[3, 6, 6], [0, 1, 6]]
    assert batch.lengths.tolist() == [2, 3]
    assert batch.inputs.tolist() == [[6, 4, 5, 0], [6, 2, 6, 6]]
    assert batch.targets.tolist() == [[4, 5, 0, 6], [2, 6, IGNORED, IGNORED]]
    assert batch.weight.item() == 0.25


def test_pairs_beyond_the_context_are_left_out_by_line() -> None:
    pairs = _encoded(("abcd", "a"), ("abcde", "a"), ("a", "abcde"), ("a", "b"))
    assert (pairs.lines, pairs.too_long) == ([1, 4], [2, 3])  # 4 tokens and the end are 5
    assert [lengths.tolist() for lengths in pairs.lengths] == [[5, 2], [2, 2]]
    with pytest.raises(UserError, match=r"no pair fits model\.block_size=5.*line 1 has 6 and 1"):
        _encoded(("abcdef", "a"))


def test_a_character_that_the_vocabulary_lacks_is_refused() -> None:
    with pytest.raises(UserError, match="cannot encode f or its translations: .*'x'"):
        _encoded(("x", "a"))


def test_the_places_of_a_step_are_those_of_its_pairs() -> None:
    pairs = _encoded(*[("ab"[: 1 + n % 2], "c") for n in range(9)])
    batches = TokenBatches(*pairs.lengths, 12, seed=0)
    data = PairData(pairs, pairs, batches, accumulation=3)
    table = data.samples(1, world_size=2)
    assert table.shape[:2] == (3, 2)
    places = {place for sample in table.flatten().tolist() for place in data.documents(sample)}
    assert places == {f"f, line {row + 1}" for row in batches.rows(1)}
    assert NOBODY in table  # five pairs at most are not six parts
