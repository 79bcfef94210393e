"""Building, merging and using the Bloom filter of train."""

import json
import re
import subprocess
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from data_prep.ngrams import distinct, scan, train_filter
from data_prep.ngrams.bloom import BloomFilter
from data_prep.ngrams.bloom_size import blocks_for
from data_prep.ngrams.distinct import Count
from data_prep.ngrams.filter_lookup import compare
from data_prep.ngrams.hashing import ngrams
from data_prep.ngrams.train_filter import build_filter, count_ngrams, merge_filters
from data_prep.stage.readers import Layout
from webtext_gpt.errors import UserError

from .overlaps import eight_grams_of_any, measure, sentences

Stage = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.slow
def test_a_million_absent_8_grams_are_not_found_in_novels(realdata: Path, tmp_path: Path) -> None:
    novels = sorted((realdata / "text/novels").glob("*.txt"))
    blocks = blocks_for(count_ngrams(novels, Layout()).capacity())
    made = build_filter(novels, Layout(), blocks, scratch=tmp_path)
    drawn = np.random.default_rng(0).integers(0, 50_000, 1_000_007)
    absent = ngrams(pa.array([" ".join(f"word{number}" for number in drawn.tolist())]))
    assert len(absent.hashes) == 1_000_000
    assert not made.contains(absent.hashes).any()
    assert made.false_positive_rate() < 1e-8
    assert made.n_bytes * 8 / blocks_optimum(novels) < 1.2


def blocks_optimum(novels: list[Path]) -> float:
    grams = {g for path in novels for g in eight_grams_of_any(path.read_text())}
    return len(grams) * 38.34


@pytest.mark.parametrize("files", [1, 2, 5])
def test_the_filter_is_the_same_however_train_is_divided(tmp_path: Path, files: int) -> None:
    texts = [sentences(n, 120) for n in range(40)]
    paths = []
    for number in range(files):
        path = tmp_path / f"{number}.jsonl"
        path.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts[number::files]))
        paths.append(path)
    count = count_ngrams(paths, Layout(), 1)
    whole = build_filter(paths, Layout(), 200, workers_at_once=3, scratch=tmp_path)
    assert (count.ngrams, count.documents) == (40 * 113, 40)
    assert count.capacity() == 4520  # all differ, and the estimate is capped at their number
    expected = BloomFilter(200)
    expected.add(ngrams(pa.array(texts)).hashes)
    assert (whole.words == expected.words).all()
    assert whole.added == expected.added


def test_counts_of_many_files_are_not_held_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[Count]] = []
    most = []

    def each(*_: Any, **__: Any) -> Iterator[tuple[Path, Count]]:
        for number in range(50):
            most.append(sum(one() is not None for one in made))
            count = Count(np.full(1 << 18, number % 7, np.uint8), 1, 1, Counter({"no text": 1}))
            made.append(weakref.ref(count))
            yield tmp_path, count
            del count

    monkeypatch.setattr(train_filter, "each_on", each)
    count = count_ngrams([tmp_path], Layout())
    assert (count.ngrams, count.documents, count.rejected) == (50, 50, {"no text": 50})
    assert (count.registers == 6).all()
    assert max(most) <= 2


@pytest.mark.slow
def test_parts_are_merged_on_the_command_line(tmp_path: Path, corpus: Path, stage: Stage) -> None:
    sources = {"a": corpus / "a.parquet", "b": corpus / "b.jsonl", "whole": corpus}
    for name, source in sources.items():
        done = stage("filters", f"train=[{source}]", f"out={tmp_path / name}.bloom", "ngrams=20000")
        assert done.returncode == 0, done.stderr
    done = stage("filters", f"merge=[{tmp_path}/b.bloom,{tmp_path}/a.bloom]",
                 f"out={tmp_path}/merged.bloom")  # fmt: skip
    assert done.returncode == 0, done.stderr
    whole = (tmp_path / "whole.bloom").read_bytes()
    assert (tmp_path / "merged.bloom").read_bytes() == whole
    assert merge_filters([tmp_path / "b.bloom", tmp_path / "a.bloom"]).added == 60 * 193
    (tmp_path / "t.txt").write_text(sentences(3, 40))
    asked = stage("overlap", f"filter={tmp_path}/merged.bloom", "direction=train",
                  f"tests.t={tmp_path}/t.txt", f"out={tmp_path}/asked")  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    assert json.loads((tmp_path / "asked/overlap.json").read_text())["t"]["overlapping"] == 33
    (tmp_path / "merged.bloom").write_bytes(whole[:-8])
    refused = stage("overlap", f"filter={tmp_path}/merged.bloom", "direction=train",
                    f"tests.t={tmp_path}/t.txt", f"out={tmp_path}/refused")  # fmt: skip
    assert refused.returncode == 1
    assert "merged.bloom has" in refused.stderr


def test_a_filter_of_other_documents_stops_the_comparison(tmp_path: Path, corpus: Path) -> None:
    """`direction=both`: a filter lacks what train holds, or finds more than its rate allows."""
    (tmp_path / "t.txt").write_text(f"{sentences(3, 40)} {sentences(900, 500)}")
    more = tmp_path / "more.jsonl"
    more.write_text(json.dumps({"text": sentences(900, 500)}) + "\n")
    tests, layout = {"t": tmp_path / "t.txt"}, Layout()
    paths = [corpus / "a.parquet", corpus / "b.jsonl"]
    for name, files, message in (
        ("less", paths[1:], r"less.bloom lacks 33 of the 33 8-grams .* build it again from these"),
        ("more", [*paths, more], r"more.bloom finds 493 of the 500 8-grams .* does not hold"),
    ):
        filter_file = tmp_path / f"{name}.bloom"
        build_filter(files, layout, blocks_for(20_000), scratch=tmp_path).save(filter_file)
        with pytest.raises(UserError, match=message):
            measure(tmp_path, corpus, tests, out=name, filter_file=filter_file)
        assert not (tmp_path / name / "manifest.json").exists()
        assert not (tmp_path / name / "overlap.json").exists()
    build_filter(paths, layout, blocks_for(20_000), scratch=tmp_path).save(tmp_path / "f.bloom")
    found = measure(tmp_path, corpus, tests, filter_file=tmp_path / "f.bloom")["t"]
    assert found["overlapping"] == 33


def test_false_positives_within_the_rate_are_accepted_and_beyond_it_refused(tmp_path: Path) -> None:
    """At a rate of 0.5, 1,000 absent 8-grams: 500 are expected, 600 are 6.3 deviations away."""
    absent, exactly = np.zeros(1000, np.bool_), np.zeros(1000, np.bool_)
    for number, sound in ((0, True), (500, True), (590, True), (600, False), (1000, False)):
        found = absent.copy()
        found[:number] = True
        if sound:  # P(X >= 590) = 6.7e-9, P(X >= 600) = 1.4e-10
            compare(found, exactly, 0.5, tmp_path / "f.bloom", tmp_path)
            continue
        with pytest.raises(UserError, match=f"finds {number:,} of the 1,000"):
            compare(found, exactly, 0.5, tmp_path / "f.bloom", tmp_path)
    exactly[0] = True
    with pytest.raises(UserError, match=r"built from train lacks 1 of the 1 .* delete .* again"):
        compare(absent, exactly, 0.5, None, tmp_path)


def test_a_filter_beyond_its_size_is_refused_by_filters_and_overlap(
    tmp_path: Path, corpus: Path, call: Stage
) -> None:
    (tmp_path / "t.txt").write_text(sentences(3, 40))
    done = call("data_prep/filters.py", f"train=[{corpus}]", f"out={tmp_path}/small.bloom",
                "ngrams=2000", "workers=1")  # fmt: skip
    assert done.returncode == 1
    assert "with room for 2,000; its false-positive rate by its bits is 0." in done.stderr
    assert not (tmp_path / "small.bloom").exists()
    paths = [corpus / "a.parquet", corpus / "b.jsonl"]
    for number, path in enumerate(paths):  # each part fits, both together do not
        bloom = build_filter([path], Layout(), blocks_for(6000), scratch=tmp_path)
        bloom.room = 6000
        bloom.save(tmp_path / f"{number}.bloom")
    done = call("data_prep/filters.py", f"merge=[{tmp_path}/0.bloom,{tmp_path}/1.bloom]",
                f"out={tmp_path}/merged.bloom")  # fmt: skip
    assert done.returncode == 1
    assert "about 11,5" in done.stderr  # 60 documents of 193 8-grams
    bloom = merge_filters([tmp_path / "0.bloom", tmp_path / "1.bloom"])
    bloom.save(tmp_path / "over.bloom")
    for direction in ("train", "both"):
        with pytest.raises(UserError, match=r"over\.bloom: about 11,5.. .* room for 6,000"):
            measure(tmp_path, corpus, {"t": tmp_path / "t.txt"}, direction=direction,
                    filter_file=tmp_path / "over.bloom", out=f"out-{direction}")  # fmt: skip


def test_figures_of_the_filter_are_in_the_manifest_and_printed(
    tmp_path: Path, corpus: Path, call: Stage
) -> None:
    (tmp_path / "t.txt").write_text(sentences(3, 40))
    done = call("data_prep/overlap.py", f"train=[{corpus}]", f"tests.t={tmp_path}/t.txt",
                f"out={tmp_path}/out", "keep_filter=true", "workers=1")  # fmt: skip
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "out/manifest.json").read_text())["filter"]
    bloom = BloomFilter.load(tmp_path / "out/train.bloom")
    assert figures["false_positive_rate"] == bloom.false_positive_rate()
    assert figures["room"] == figures["added"] == 60 * 193  # all differ
    assert abs(figures["distinct"] - 60 * 193) < 100
    assert re.search(
        r"filter      about 11,\d+ distinct 8-grams, room for 11,580, false", done.stdout
    )


@pytest.mark.parametrize("direction", ["train", "both"])
def test_train_is_hashed_once(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, direction: str
) -> None:
    read: list[str] = []
    once = scan.batches

    def counted(path: Path, *arguments: Any) -> Iterator[Any]:
        read.append(path.name)
        return once(path, *arguments)

    for module in (scan, train_filter, distinct):
        monkeypatch.setattr(module, "batches", counted)
    (tmp_path / "t.txt").write_text(sentences(3, 40))
    found = measure(tmp_path, corpus, {"t": tmp_path / "t.txt"}, direction=direction)
    assert found["t"]["overlapping"] == 33
    assert sorted(read) == ["a.parquet", "b.jsonl"]
