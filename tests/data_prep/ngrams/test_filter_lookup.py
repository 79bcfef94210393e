"""Building, merging and using the Bloom filter of train."""

import json
import subprocess
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from data_prep.ngrams import train_filter
from data_prep.ngrams.bloom import BloomFilter
from data_prep.ngrams.bloom_size import blocks_for
from data_prep.ngrams.distinct import Count
from data_prep.ngrams.hashing import ngrams
from data_prep.ngrams.train_filter import build_filter, count_ngrams, merge_filters
from data_prep.stage.readers import Layout

from .overlaps import eight_grams_of_any, sentences

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
