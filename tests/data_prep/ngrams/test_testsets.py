"""Test sets from files, by name, and from the `datasets` library."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from data_prep.stage.readers import Layout
from webtext_gpt.errors import UserError

from ..conftest import manifest_of
from .overlaps import measure, sentences

Stage = Callable[..., subprocess.CompletedProcess[str]]


def test_a_test_set_of_the_datasets_library(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    def load(name: str, config: str | None, split: str) -> Any:
        assert (name, config, split) == ("owner/set", "small", "validation")
        return datasets.Dataset.from_dict({"text": [sentences(3, 40), ""]})

    monkeypatch.setattr(datasets, "load_dataset", load)
    found = measure(tmp_path, corpus, {"t": "owner/set:small:validation"})
    assert found["t"]["overlapping"] == 33

    def refuse(*_: Any, **__: Any) -> Any:
        raise datasets.exceptions.DatasetNotFoundError("cannot be reached")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    message = r"tests\.t=nowhere: no such file, no evaluation set in .*, and `datasets` cannot"
    with pytest.raises(UserError, match=message):
        measure(tmp_path, corpus, {"t": "nowhere"}, evalsets=tmp_path, out="x")


def test_rows_without_text_are_counted_and_the_others_named_by_line(
    tmp_path: Path, corpus: Path
) -> None:
    rows = ["{broken", "", '{"text": null}', json.dumps({"text": sentences(3, 40)}), '{"text": ""}']
    (tmp_path / "t.jsonl").write_text("\n".join(rows))
    found = measure(tmp_path, corpus, {"t": tmp_path / "t.jsonl"})
    assert found["t"]["note"] == (
        "left out: 1 (malformed row); left out: 2 (no text); every 8-gram is in train"
    )
    (row,) = pq.read_table(tmp_path / "out/samples.parquet").to_pylist()
    assert row["sample"] == "t.jsonl:4"


def test_other_sample_boundaries_are_another_measurement(tmp_path: Path, corpus: Path) -> None:
    lines = ["", " = First =", "", f" {sentences(3, 30)} ", " = = Part = =", sentences(900, 20),
             " = Second =", sentences(901, 20)]  # fmt: skip
    folder = tmp_path / "sets"
    folder.mkdir()
    (folder / "wikitext.raw").write_text(" \n".join(lines))
    where = {"evalsets": folder}
    by_name = measure(tmp_path, corpus, {"t": "wikitext"}, **where)
    by_path = measure(tmp_path, corpus, {"t": folder / "wikitext.raw"}, out="path")
    assert by_path == by_name
    samples = pq.read_table(tmp_path / "out/samples.parquet")["sample"].to_pylist()
    assert samples == ["First", "Second"]
    with pytest.raises(UserError, match="tests is .*articles.* there, .*lines.* here"):
        measure(tmp_path, corpus, {"t": "wikitext"}, tests_layout=Layout(lines=True), **where)


def test_test_files_may_have_another_layout_than_train(tmp_path: Path, stage: Stage) -> None:
    (tmp_path / "train.txt").write_text(f"{sentences(1, 40)}\n{sentences(2, 40)}\n")
    (tmp_path / "t.txt").write_text(f"{sentences(1, 20)}\n{sentences(9, 20)}\n")
    (tmp_path / "j.jsonl").write_text(json.dumps({"body": sentences(2, 20)}))
    done = stage("overlap", f"train=[{tmp_path}/train.txt]", "lines=true", "tests_lines=false",
                 f"tests.t={tmp_path}/t.txt", f"tests.j={tmp_path}/j.jsonl",
                 "tests_text_key=body", f"out={tmp_path}/out")  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out/overlap.json").read_text())
    assert found["t"]["ngrams"] == 33  # one sample: 8-grams cross the end of its line
    assert (found["t"]["overlapping"], found["j"]["overlapping"]) == (13, 13)
    assert manifest_of(tmp_path / "out")["rows_in"] == 2
