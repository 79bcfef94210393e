"""A trial's rows: so many, by their ids alone."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash

from data_prep.stage.limit import take
from data_prep.stage.readers import Layout
from webtext_gpt.errors import UserError

from ..conftest import manifest_of


def links(path: Path, numbers: range) -> None:
    rows = {"id": [f"l{n}" for n in numbers], "url": [f"u{n}" for n in numbers]}
    pq.write_table(pa.table(rows), path)


def taken(folder: Path) -> set[str]:
    return {row for path in folder.glob("limit-*.parquet")
            for row in pq.read_table(path)["id"].to_pylist()}  # fmt: skip


def test_links_are_taken_by_their_ids_however_they_are_divided(tmp_path: Path) -> None:
    links(tmp_path / "whole.parquet", range(100))
    links(tmp_path / "a.parquet", range(37))
    links(tmp_path / "b.parquet", range(37, 100))
    take([str(tmp_path / "whole.parquet")], tmp_path / "one", 30, Layout())
    take([str(tmp_path / "[ab].parquet")], tmp_path / "two", 30, Layout())
    due = sorted((f"l{n}" for n in range(100)), key=lambda i: xxhash.xxh3_64_intdigest(i.encode()))
    assert taken(tmp_path / "one") == taken(tmp_path / "two") == set(due[:30])
    assert manifest_of(tmp_path / "two")["rejected"] == {"over the limit": 70}


def test_a_limit_above_all_takes_all(tmp_path: Path) -> None:
    links(tmp_path / "a.parquet", range(5))
    take([str(tmp_path / "a.parquet")], tmp_path / "out", 30, Layout())
    assert len(taken(tmp_path / "out")) == 5


def test_what_cannot_be_counted_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"url": ["u"]}), tmp_path / "nameless.parquet")
    with pytest.raises(UserError, match="neither 'text' nor 'id' among"):
        take([str(tmp_path / "nameless.parquet")], tmp_path / "out", 3, Layout())
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="not a readable Parquet file"):
        take([str(tmp_path / "bad.parquet")], tmp_path / "out2", 3, Layout())
