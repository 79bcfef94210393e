"""A filter of train that is built and asked in parts gives the bytes of the whole one."""

import weakref
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from data_prep.ngrams import filter_passes
from data_prep.ngrams.bloom import BloomFilter
from data_prep.ngrams.bloom_fill import Fill, count_fill
from data_prep.ngrams.bloom_part import FilterPart
from data_prep.ngrams.bloom_size import blocks_for
from data_prep.ngrams.measurement import OverlapRules
from data_prep.overlap import measure_overlap

from ..conftest import corpus_bytes, manifest_of
from .overlaps import sentences

NGRAMS = 60 * 193
"""8-grams of the fixture `corpus`, which all differ."""
FILTER_BYTES = 2 * blocks_for(NGRAMS) * 64


def measured(train: Path, tests: Path, out: Path, **options: Any) -> dict[str, Any]:
    """Measure with a filter that is kept; return the manifest without times and its own hash."""
    measure_overlap([str(train)], {"t": str(tests)}, out, OverlapRules(), **options)
    return {**manifest_of(out), "seconds": 0, "manifest_sha256": 0}


def built_parts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Note the blocks of each part that is made; no two parts may be in memory at once."""
    made: list[weakref.ref[FilterPart]] = []
    limits: list[tuple[int, int]] = []

    def part(blocks: int, low: int, high: int) -> FilterPart:
        assert all(one() is None for one in made)
        new = FilterPart(blocks, low, high)
        made.append(weakref.ref(new))
        limits.append((low, high))
        return new

    monkeypatch.setattr(filter_passes, "FilterPart", part)
    return limits


def test_one_two_and_seven_parts_give_the_same_bytes(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tests = tmp_path / "t.txt"
    tests.write_text(f"{sentences(3, 40)} {sentences(900, 50)}")
    expected = measured(corpus, tests, tmp_path / "1", keep_filter=True)
    assert expected["results"]["t"]["overlap"]["overlapping"] == 33
    assert expected["filter"]["bytes"] == FILTER_BYTES
    limits = built_parts(monkeypatch)
    for number in (2, 7):
        limits.clear()
        memory = -(-FILTER_BYTES // 64 // number) * 64
        out = tmp_path / str(number)
        found = measured(corpus, tests, out, keep_filter=True, filter_memory=memory)
        assert len(limits) == number
        assert max(high - low for low, high in limits) * 64 <= memory
        assert found == expected
        assert corpus_bytes(out) == corpus_bytes(tmp_path / "1")
    kept = BloomFilter.load(tmp_path / "7/train.bloom")
    assert kept.false_positive_rate() == expected["filter"]["false_positive_rate"]
    assert kept.added == NGRAMS


def test_an_existing_filter_is_asked_in_parts(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tests = tmp_path / "t.txt"
    tests.write_text(sentences(3, 40))
    measured(corpus, tests, tmp_path / "made", keep_filter=True)
    given = tmp_path / "made/train.bloom"
    expected = measured(corpus, tests, tmp_path / "whole", filter_file=given)
    limits = built_parts(monkeypatch)
    found = measured(corpus, tests, tmp_path / "o", filter_file=given, filter_memory=10_000)
    assert len(limits) == -(-FILTER_BYTES // (10_000 // 64 * 64))
    assert found == expected
    assert found["results"]["t"]["overlap"]["overlapping"] == 33
    assert corpus_bytes(tmp_path / "o") == corpus_bytes(tmp_path / "whole")


@pytest.mark.parametrize("later", [1, 2, 3])
def test_a_stopped_measurement_builds_only_the_parts_that_are_left(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, later: int
) -> None:
    """It stops in the third of seven parts; the next call has seven parts, two, or one."""
    tests = tmp_path / "t.txt"
    tests.write_text(sentences(3, 40))
    expected = measured(corpus, tests, tmp_path / "whole", keep_filter=True)
    seventh = -(-FILTER_BYTES // 64 // 7) * 64
    with monkeypatch.context() as stopped:
        calls = count()

        def interrupted(part: FilterPart) -> Fill:
            if next(calls) == 2:
                raise KeyboardInterrupt
            return count_fill(part.words, part.blocks, part.low)

        stopped.setattr(FilterPart, "fill", interrupted)
        with pytest.raises(KeyboardInterrupt):
            measured(corpus, tests, tmp_path / "out", keep_filter=True, filter_memory=seventh)
    limits = built_parts(monkeypatch)
    memory, left = {1: (seventh, 5), 2: (FILTER_BYTES // 2, 2), 3: (FILTER_BYTES, 1)}[later]
    found = measured(corpus, tests, tmp_path / "out", keep_filter=True, filter_memory=memory)
    assert len(limits) == left
    assert found == expected
    assert corpus_bytes(tmp_path / "out") == corpus_bytes(tmp_path / "whole")


@pytest.mark.slow
def test_novels_in_parts(tmp_path: Path, realdata: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tests = realdata / "evalsets/lambada_test.jsonl"
    limits = built_parts(monkeypatch)
    novels = realdata / "text/novels"
    expected = measured(novels, tests, tmp_path / "whole", keep_filter=True)
    assert len(limits) == 1
    assert expected["results"]["t"]["overlap"]["overlapping"] == 31
    found = measured(novels, tests, tmp_path / "parts", keep_filter=True, filter_memory=1 << 20)
    assert len(limits) == 1 + -(-expected["filter"]["bytes"] // (1 << 20))
    assert found == expected
    assert corpus_bytes(tmp_path / "parts") == corpus_bytes(tmp_path / "whole")
