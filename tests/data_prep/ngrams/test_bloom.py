"""Bloom filter: computed and observed rates, merging, files."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import xxhash

from data_prep.ngrams.bloom import BloomFilter
from data_prep.ngrams.bloom_file import HEADER_BYTES, MAGIC
from data_prep.ngrams.bloom_fill import Fill
from data_prep.ngrams.bloom_part import FilterPart, part_ranges
from data_prep.ngrams.bloom_size import blocks_for, rate_of_load
from data_prep.ngrams.distinct import MARGIN, Count, register
from webtext_gpt.errors import UserError


def draw(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, count, np.uint64)


def filled(blocks: int, hashes: np.ndarray) -> BloomFilter:
    made = BloomFilter(blocks)
    made.add(hashes)
    return made


@pytest.mark.parametrize("rate", [1e-2, 1e-3, 1e-4])
def test_the_observed_rate_is_the_requested_one(rate: float) -> None:
    items, asked = 200_000, 5_000_000
    made = filled(blocks_for(items, rate), draw(1, items))
    assert made.contains(draw(1, items)).all()
    found = int(made.contains(draw(2, asked)).sum())
    spread = 4 * math.sqrt(rate * asked)  # four standard deviations of a binomial
    assert abs(found - rate * asked) < spread + 0.03 * rate * asked
    assert made.false_positive_rate() == pytest.approx(found / asked, abs=spread / asked)


def test_a_rate_of_1e_8_takes_less_than_1_2_times_the_optimal_memory() -> None:
    optimum = math.log(1e8) / math.log(2) ** 2
    assert optimum == pytest.approx(38.34, abs=0.01)
    for items in (10**6, 10**9, 8 * 10**9):
        assert blocks_for(int(items * MARGIN)) * 2 * 512 / items < 1.2 * optimum


def test_the_rate_equals_that_of_simulated_blocks() -> None:
    """Compare the formula with items drawn into blocks by numpy."""
    rng, load, blocks = np.random.default_rng(0), 23.0, 4000
    items = rng.poisson(load, blocks)
    passing = []
    for count in items:
        bits = np.zeros((8, 64), bool)
        bits[np.tile(np.arange(8), count), rng.integers(0, 64, 8 * count)] = True
        for half in (0, 4):
            bits[half + rng.integers(0, 4, count), rng.integers(0, 64, count)] = True
        share = bits.mean(axis=1)
        passing.append(share.prod() * share[:4].mean() * share[4:].mean())
    simulated, error = np.mean(passing), np.std(passing) / math.sqrt(blocks)
    assert rate_of_load(load) == pytest.approx(simulated**2, rel=8 * error / simulated)
    assert rate_of_load(load) > simulated**2 * (1 - 4 * error / simulated)  # and is never too low


def test_a_filter_built_for_1e_8_keeps_it_and_has_no_false_positive() -> None:
    items = 500_000
    made = filled(blocks_for(items), draw(1, items))
    assert made.false_positive_rate() < 1e-8
    assert not made.contains(draw(2, 1_000_000)).any()


def test_shares_of_the_blocks_add_up_to_the_whole_filter() -> None:
    hashes, whole, parts = draw(3, 10_000), BloomFilter(300), BloomFilter(300)
    whole.add(hashes)
    for number in (2, 0, 1):
        parts.add_share(hashes, number, 3)
    assert (parts.words == whole.words).all()


@pytest.mark.parametrize("number", [1, 2, 7, 600])
def test_parts_that_hold_their_own_blocks_are_the_whole_filter(number: int) -> None:
    """600 parts have one block each; with 7, the fourth has blocks of both halves."""
    hashes, whole = draw(3, 10_000), BloomFilter(300, added=10_000)
    whole.add_share(hashes, 0, 1)
    asked = np.concatenate([hashes[:500], draw(4, 50_000)])
    found, fill = np.ones(len(asked), np.bool_), Fill(300)
    most = -(-600 // number) * 64
    ranges = part_ranges(300, most)
    assert [len(ranges), ranges[0][0], ranges[-1][1]] == [number, 0, 600]
    for low, high in reversed(ranges):
        part = FilterPart(300, low, high)
        assert part.n_bytes <= most
        for share in (1, 0):
            part.add_share(hashes, share, 2)
        assert (part.words == whole.words[low * 8 : high * 8]).all()
        found &= part.contains(asked)
        fill += part.fill()
    assert (found == whole.contains(asked)).all()
    assert found[:500].all()
    assert not found[500:].all()
    assert fill == whole.fill()
    assert fill.bits == sum(int(word).bit_count() for word in whole.words)


def test_the_rate_of_a_filter_of_two_blocks_by_hand() -> None:
    """One block has all bits but one word's first half; the other has a bit in each word."""
    words = np.full(16, 2**64 - 1, np.uint64)
    words[0] = 2**32 - 1
    words[8:] = 1
    fill = BloomFilter(1, words).fill()
    first = (1 / 2) * ((1 / 2 + 1 + 1 + 1) / 4) * 1
    second = (1 / 64) ** 8 * (1 / 64) * (1 / 64)
    assert fill.false_positive_rate(0) == first * second
    assert fill.bits == 7 * 64 + 32 + 8
    full = BloomFilter(1, np.full(16, 2**64 - 1, np.uint64)).fill()
    assert full.false_positive_rate(2**60) == 1 + 1 / 16


def test_parts_merged_in_any_order_are_the_whole(tmp_path: Path) -> None:
    hashes = draw(4, 30_000)
    filled(1000, hashes).save(tmp_path / "whole")
    for order in ((0, 1, 2), (2, 0, 1)):
        merged = BloomFilter(1000)
        for part in order:
            merged.merge(filled(1000, hashes[part::3]))
        merged.save(tmp_path / "merged")
        assert (tmp_path / "merged").read_bytes() == (tmp_path / "whole").read_bytes()
    with pytest.raises(UserError, match="1,000 and 999 blocks cannot be merged"):
        merged.merge(BloomFilter(999))


def test_a_saved_filter_is_mapped_and_loaded(tmp_path: Path) -> None:
    made = filled(100, draw(5, 1000))
    made.save(tmp_path / "f.bloom")
    for mapped in (True, False):
        again = BloomFilter.load(tmp_path / "f.bloom", mapped)
        assert (again.words == made.words).all()
        assert again.contains(draw(5, 1000)).all()
        assert (again.blocks, again.added) == (100, 1000)


def damaged(path: Path, how: str) -> str:
    """Damage a filter of 10 blocks a half: 4,096 bytes of header, 1,280 of words, a checksum."""
    data = path.read_bytes()
    assert len(data) == HEADER_BYTES + 2 * 10 * 64 + 8
    words, end = HEADER_BYTES, HEADER_BYTES + 1280
    new, message = {
        "cut": (data[:-1], "has .* bytes, but its header states"),
        "cut in the header": (data[:100], "header is damaged"),
        "longer": (data + b"x", "has .* bytes, but its header states"),
        "foreign": (b"PAR1" + data, "is not a Bloom filter of this project"),
        "empty": (b"", "is not a Bloom filter of this project"),
        "zeroed": (bytes(len(data)), "is not a Bloom filter of this project"),
        "header": (data.replace(b'"added": 1', b'"added": 7'), "header is damaged"),
        "header's hash": (data.replace(data[18:22], b"----", 1), "header is damaged"),
        "header's padding": (data[: words - 1] + b"x" + data[words:], "header is damaged"),
        "words cleared": (data[:words] + bytes(1280) + data[end:], r"block .* at byte 4,096 is"),
        "words set": (data[:words] + b"\xff" * 1280 + data[end:], r"block .* at byte 4,096 is"),
        "checksum": (data[:end] + bytes(8), "checksums are damaged"),
    }[how]  # fmt: skip
    assert new != data
    path.write_bytes(new)
    return message


DAMAGE = [
    "cut", "cut in the header", "longer", "foreign", "empty", "zeroed", "header", "header's hash",
    "header's padding", "words cleared", "words set", "checksum",
]  # fmt: skip


@pytest.mark.parametrize("how", DAMAGE)
def test_an_invalid_file_is_refused_by_name(tmp_path: Path, how: str) -> None:
    path = tmp_path / "f.bloom"
    filled(10, draw(1, 1)).save(path)
    message = damaged(path, how)
    for mapped in (True, False):
        with pytest.raises(UserError, match=message) as refusal:
            BloomFilter.load(path, mapped)
        assert str(path) in str(refusal.value)


def test_one_bit_in_any_block_of_a_larger_file_is_found(tmp_path: Path) -> None:
    made = filled(20_000, draw(1, 50_000))  # 2.56 MB, of which the third block is not full
    made.save(tmp_path / "f.bloom")
    data = (tmp_path / "f.bloom").read_bytes()
    for at in (0, 2**20 - 1, 2**20, 2**21, 2 * 20_000 * 64 - 1):
        other = bytearray(data)
        other[HEADER_BYTES + at] ^= 1
        (tmp_path / "f.bloom").write_bytes(other)
        start = HEADER_BYTES + at // 2**20 * 2**20
        with pytest.raises(UserError, match=f"block of 1,048,576 bytes at byte {start:,} is dam"):
            BloomFilter.load(tmp_path / "f.bloom")


def with_header(path: Path, **fields: object) -> None:
    """Replace fields of a filter's header, whose hash then is right."""
    data = path.read_bytes()
    header = json.loads(data[len(MAGIC) + 33 : HEADER_BYTES])
    text = json.dumps(header | fields).encode()
    head = MAGIC + xxhash.xxh3_128_hexdigest(text).encode() + b"\n" + text
    path.write_bytes(head.ljust(HEADER_BYTES) + data[HEADER_BYTES:])


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("version", 1, "version is 1 there, 2 here; build it again"),
        ("blocks", 0, "header is damaged"),
        ("blocks", -10, "header is damaged"),
        ("blocks", "10", "header is damaged"),
        ("blocks", True, "header is damaged"),
        ("blocks", 2**60, "header is damaged"),
        ("blocks", 11, "has .* bytes, but its header states"),
        ("added", -1, "header is damaged"),
        ("added", None, "header is damaged"),
        ("added", float("nan"), "header is damaged"),
        ("room", -1, "header is damaged"),
        ("checksums", None, "header is damaged"),
        ("checksums", "", "checksums are damaged"),
    ],
)
def test_a_header_that_was_written_wrongly_is_refused(
    tmp_path: Path, key: str, value: object, message: str
) -> None:
    path = tmp_path / "f.bloom"
    filled(10, draw(1, 1)).save(path)
    with_header(path, **{key: value})
    with pytest.raises(UserError, match=message) as refusal:
        BloomFilter.load(path)
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize("items", [1, 43, 1000, 100_000])
def test_a_filter_filled_beyond_its_size_is_refused(items: int) -> None:
    """Two distinct hashes for each one that there is room for; repeats do not count."""
    made = BloomFilter(blocks_for(items), room=items)
    for _ in range(3):
        made.add(draw(1, items))
    made.refuse_overfull("it")
    assert made.distinct() == pytest.approx(items, rel=0.01, abs=3)
    made.add(draw(2, 2 * items + 10))
    with pytest.raises(
        UserError, match=rf"it: about .* with room for {items:,}; .* rate .* ngrams"
    ):
        made.refuse_overfull("it")
    BloomFilter(made.blocks, made.words).refuse_overfull("of unknown size")


def test_a_merged_filter_has_the_room_of_its_smallest_part() -> None:
    made = BloomFilter(100, room=1000)
    made.merge(BloomFilter(100, room=900))
    made.merge(BloomFilter(100))
    assert made.room == 900


@pytest.mark.parametrize(
    ("constant", "key", "other"),
    [("WORDS_VERSION", "normalisation", "ascii-v0"), ("NGRAM", "ngram", 13)],
)
def test_other_ngrams_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, constant: str, key: str, other: str | int
) -> None:
    path = tmp_path / "f.bloom"
    with monkeypatch.context() as changed:
        changed.setattr(f"data_prep.ngrams.bloom.{constant}", other)
        filled(10, draw(1, 1)).save(path)
    with pytest.raises(UserError, match=rf"f\.bloom: {key} is {other!r} there"):
        BloomFilter.load(path)


@pytest.mark.parametrize("rate", [0.0, -1.0, 0.9, 1e-30])
def test_an_impossible_rate_is_refused(rate: float) -> None:
    with pytest.raises(UserError, match="rate="):
        blocks_for(1000, rate)


@pytest.mark.parametrize("distinct", [0, 1, 1000, 100_000, 3_000_000])
def test_distinct_hashes_are_estimated(distinct: int) -> None:
    registers = np.zeros(1 << 18, np.uint8)
    hashes = draw(6, distinct)
    register(registers, hashes)
    register(registers, hashes[: distinct // 2])  # repeats change nothing
    capacity = Count(registers, 2 * distinct, 0).capacity()
    assert distinct <= capacity <= 1.02 * distinct + 2 or distinct == 0


@pytest.mark.parametrize("rate", [0.5, 0.01, 1e-8])
def test_few_items_have_a_filter_at_any_rate(rate: float) -> None:
    for items in (1, 2, 20, 2000):
        made = filled(blocks_for(items, rate), draw(1, items))
        assert made.contains(draw(1, items)).all()
        assert made.false_positive_rate() <= 1.1 * rate + 0.01 * (items < 2000)
    with pytest.raises(UserError, match="with 0 items"):
        blocks_for(0, rate)
