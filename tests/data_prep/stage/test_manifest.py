"""Manifests of stages: wrong types, counts that do not add up and altered figures are refused."""

import json
from pathlib import Path

import pytest

from data_prep.stage.manifest import print_counts, read_manifest
from webtext_gpt.errors import UserError
from webtext_gpt.manifests import sealed

MANIFEST = {
    "stage": "dedup", "format": 1, "config": {"threshold": 0.8}, "inputs": [
        {"name": "é.jsonl", "bytes": 3, "xxh3": "0"}
    ], "rows_in": 5, "rows_used": 4, "rows_out": 3, "rejected": {"near duplicate": 1},
    "sources": [{"stage": "documents"}], "seconds": 0.125,
}  # fmt: skip


def written(folder: Path, value: object) -> Path:
    path = folder / "manifest.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ('{"stage": ', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not a manifest"),
        ("3", "not a manifest"),
        ("null", "not a manifest"),
    ],
)
def test_what_is_no_object_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=rf"manifest\.json: {message}"):
        read_manifest(written(tmp_path, text))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("rows_in", "5", "rows_in: .*found '5'"),
        ("rows_in", True, "rows_in: .*found True"),
        ("rows_in", float("nan"), "rows_in: .*found nan"),
        ("rows_out", -3, "rows_out: .*found -3"),
        ("rows_in", 6, "rows_in: 6, but 4 used and 1 rejected"),
        ("rejected", ["near duplicate"], "rejected: "),
        ("rejected", {"near duplicate": 1.0}, "rejected.near duplicate: .*found 1.0"),
        ("config", [], "config: "),
        ("inputs", {"a": 1}, "inputs: "),
        ("inputs", [{"name": "a"}], r"inputs\[0\].xxh3: Field required"),
        ("sources", [1], r"sources\[0\]: "),
        ("seconds", 0.25, "altered"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, key: str, value: object, message: str) -> None:
    whole = sealed(MANIFEST)
    assert read_manifest(written(tmp_path, whole)) == whole
    with pytest.raises(UserError, match=rf"manifest\.json.*{message}"):
        read_manifest(written(tmp_path, {**whole, key: value}))
    assert read_manifest(written(tmp_path, MANIFEST)) == MANIFEST  # of an earlier version


def test_records_of_units_need_not_be_manifests(tmp_path: Path) -> None:
    record = {"rows": 3, "rows_in": "any", "rejected": []}
    assert read_manifest(written(tmp_path, record)) == record


def test_counts_are_printed_in_columns(capsys: pytest.CaptureFixture) -> None:
    rejected = {"low karma": 3, "self post": 12_000}
    counts = {"rows_in": 12_010, "rows_used": 7, "rows_out": 5, "rejected": rejected}
    print_counts({"stage": "links", **counts})
    assert capsys.readouterr().out.splitlines() == [
        "links       12,010 rows in, 5 out",
        "        12,000  self post",
        "             3  low karma",
        "             7  merged into the rows out",
    ]
