"""Scans of training files, and their copies without the documents over the threshold."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.ngrams.exact_set import ExactSet
from data_prep.ngrams.hashing import ngrams
from data_prep.ngrams.scan import Scan, scan_file
from data_prep.stage.readers import Layout

from ..conftest import manifest_of
from .overlaps import measure, sentences


def test_removal_keeps_columns_lines_and_what_is_under_the_threshold(
    tmp_path: Path, corpus: Path
) -> None:
    (tmp_path / "t.txt").write_text(f"{sentences(3, 40)} x {sentences(33, 17)}")
    measure(tmp_path, corpus, {"t": tmp_path / "t.txt"}, remove=True, threshold=11)
    (parquet,) = (tmp_path / "out").glob("documents-*.parquet")
    (lines,) = (tmp_path / "out").glob("documents-*.jsonl")
    table = pq.read_table(parquet)
    assert table.column_names == ["id", "text", "url"]
    assert table["id"].to_pylist() == [f"d{n}" for n in range(30) if n != 3]
    assert lines.read_bytes() == (corpus / "b.jsonl").read_bytes()  # d33 holds 10 only
    results = manifest_of(tmp_path / "out")["results"]["t"]
    assert results["overlap"]["overlapping"] == 43
    assert results["after_removal"]["overlapping"] == 10


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "txt"])
def test_files_without_a_remaining_document_leave_a_readable_corpus(
    tmp_path: Path, kind: str
) -> None:
    """Two empty files would be refused later as one input given twice."""
    folder = tmp_path / "train"
    folder.mkdir()
    for name, numbers in (("a", [1]), ("b", [2]), ("c", [3, 4])):
        texts = [sentences(n, 50) for n in numbers]
        if kind == "parquet":
            pq.write_table(pa.table({"text": texts}), folder / f"{name}.parquet")
        else:
            rows = [json.dumps({"text": t}) if kind == "jsonl" else t for t in texts]
            (folder / f"{name}.{kind}").write_text("\n".join(rows))
    test = tmp_path / "test.txt"
    test.write_text(" x ".join(sentences(n, 50) for n in (1, 2, 3)))
    layout = Layout(lines=kind == "txt")
    measure(tmp_path, folder, {"t": test}, remove=True, layout=layout)
    left = list((tmp_path / "out").glob("documents-*"))
    assert len(left) == 1
    after = measure(tmp_path, tmp_path / "out", {"t": test}, out="after", layout=layout)
    assert after["t"]["overlapping"] == 0
    assert manifest_of(tmp_path / "after")["rows_in"] == 1


def test_a_parquet_column_may_be_named_line(tmp_path: Path) -> None:
    pq.write_table(pa.table({"line": [sentences(n, 50) for n in (1, 2)]}), tmp_path / "a.parquet")
    (tmp_path / "t.txt").write_text(sentences(1, 50))
    measure(tmp_path, tmp_path / "a.parquet", {"t": tmp_path / "t.txt"}, remove=True,
            layout=Layout(text_key="line"))  # fmt: skip
    (left,) = (tmp_path / "out").glob("documents-*")
    assert pq.read_table(left).to_pylist() == [{"line": sentences(2, 50)}]


def test_a_scan_stores_only_the_8_grams_that_were_found(tmp_path: Path) -> None:
    asked = ngrams(pa.array([sentences(n, 1000) for n in range(20)]))
    exact = ExactSet.of([asked])
    assert len(exact) == 20 * 993
    (tmp_path / "train.txt").write_text(f"{sentences(5, 30)} x {sentences(99, 500)}")
    members = np.ones((1, len(exact)), np.bool_)
    found = scan_file(tmp_path / "train.txt", Layout(), exact, members, 1, lambda _: None)
    found.save(tmp_path / "scan.npz")
    again = Scan.load(tmp_path / "scan.npz")
    for scan in (found, again):
        assert exact.hashes[scan.grams].tolist() == sorted(asked.hashes[5 * 993 :][:23].tolist())
        assert scan.times.tolist() == [1] * 23
        assert scan.left.tolist() == [0] * 23


def test_a_long_name_costs_its_own_length_only(tmp_path: Path) -> None:
    names = ["x" * 1_000_000, "", "ends in NUL\0", *map(str, range(10_000))]
    none = np.empty(0, np.int64)
    scan = Scan(none, none, none, none, names, none, none, none.astype(bool), Counter())
    scan.save(tmp_path / "a.npz")  # as an array of strings, 40 GB
    assert Scan.load(tmp_path / "a.npz").names == names
