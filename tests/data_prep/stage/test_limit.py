"""A trial corpus: which rows it takes depends only on their ids."""

import random
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.stage.limit import take
from data_prep.stage.readers import Layout
from webtext_gpt.errors import UserError

from ..conftest import manifest_of

# The twelve of `l0` to `l99` with the smallest XXH3 (64 bits), the smallest first. Computed once
# with version 4.1.0 of the package `xxhash`; Daft's hash (xxhash3_64) and the specification's
# formula for inputs of 1 to 3 bytes gave the same.
SMALLEST = ["l57", "l6", "l58", "l85", "l84", "l52", "l26", "l51", "l61", "l16", "l11", "l35"]


def links(path: Path, numbers: Iterable[int]) -> Path:
    numbers = list(numbers)
    rows = {"id": [f"l{n}" for n in numbers], "url": [f"u{n}" for n in numbers]}
    pq.write_table(pa.table(rows), path)
    return path


def taken(folder: Path) -> set[str]:
    return {row for path in folder.glob("limit-*.parquet")
            for row in pq.read_table(path)["id"].to_pylist()}  # fmt: skip


@pytest.mark.parametrize("limit", range(1, 13))
def test_the_ids_with_the_smallest_hashes_are_taken(tmp_path: Path, limit: int) -> None:
    links(tmp_path / "a.parquet", range(100))
    take([str(tmp_path / "a.parquet")], tmp_path / "out", limit, Layout())
    assert taken(tmp_path / "out") == set(SMALLEST[:limit])
    assert manifest_of(tmp_path / "out")["rejected"] == {"over the limit": 100 - limit}


def test_links_are_taken_by_their_ids_however_they_are_divided(tmp_path: Path) -> None:
    shuffled = list(range(100))
    random.Random(0).shuffle(shuffled)
    links(tmp_path / "whole.parquet", range(100))
    links(tmp_path / "a.parquet", range(37))
    links(tmp_path / "b.parquet", range(37, 100))
    for number in range(3):
        links(tmp_path / f"c{number}.parquet", shuffled[number::3])
    for out, pattern in (("one", "whole"), ("two", "[ab]"), ("three", "c?")):
        take([str(tmp_path / f"{pattern}.parquet")], tmp_path / out, 30, Layout())
    assert taken(tmp_path / "one") == taken(tmp_path / "two") == taken(tmp_path / "three")
    assert len(taken(tmp_path / "one")) == 30
    assert manifest_of(tmp_path / "two")["rejected"] == {"over the limit": 70}


def test_a_smaller_limit_takes_a_part_of_a_larger_one(tmp_path: Path) -> None:
    path = links(tmp_path / "a.parquet", range(1000))
    sets = []
    for limit in (1, 10, 300, 999):
        take([str(path)], tmp_path / f"{limit}", limit, Layout())
        sets.append(taken(tmp_path / f"{limit}"))
    assert [len(some) for some in sets] == [1, 10, 300, 999]
    assert sets[0] < sets[1] < sets[2] < sets[3]


def test_a_limit_takes_about_the_same_share_everywhere(tmp_path: Path) -> None:
    """Half of 4,000 rows: 200 of each 400, within five standard deviations of 10."""
    take([str(links(tmp_path / "a.parquet", range(4000)))], tmp_path / "out", 2000, Layout())
    numbers = [int(name.removeprefix("l")) for name in taken(tmp_path / "out")]
    for share in range(10):
        assert 150 < sum(n // 400 == share for n in numbers) < 250
        assert 150 < sum(n % 10 == share for n in numbers) < 250


def test_a_limit_above_the_number_of_rows_takes_all(tmp_path: Path) -> None:
    links(tmp_path / "a.parquet", range(5))
    take([str(tmp_path / "a.parquet")], tmp_path / "out", 30, Layout())
    assert len(taken(tmp_path / "out")) == 5


def test_files_without_ids_and_damaged_files_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"url": ["u"]}), tmp_path / "nameless.parquet")
    with pytest.raises(UserError, match="neither 'text' nor 'id' among"):
        take([str(tmp_path / "nameless.parquet")], tmp_path / "out", 3, Layout())
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="not a readable Parquet file"):
        take([str(tmp_path / "bad.parquet")], tmp_path / "out2", 3, Layout())
