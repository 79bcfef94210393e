"""Inputs of a stage: which files a path names, and their fingerprints."""

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash

from data_prep.stage.inputs import expand, find_inputs, refuse_repeats
from data_prep.stage.ledger import Ledger
from data_prep.stage.manifest import MANIFEST, source_manifests
from data_prep.stage.outputs import fingerprint
from data_prep.stage.readers import SUFFIXES
from webtext_gpt.errors import UserError
from webtext_gpt.manifests import CHECKSUM


def names(*patterns: Path | str) -> list[str]:
    return [path.name for path in expand(map(str, patterns), SUFFIXES)]


def test_a_folder_stands_for_its_files_that_end_in_a_suffix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("b.txt", "a.jsonl.gz", "c.csv", ".d.txt", "sub/e.txt", "sub/F.TXT"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert names(tmp_path) == ["a.jsonl.gz", "b.txt", "F.TXT", "e.txt"]
    assert capsys.readouterr().out == "inputs: 1 file with another ending left out: c.csv\n"
    assert names(tmp_path / "*") == ["a.jsonl.gz", "b.txt"]
    assert "c.csv" in capsys.readouterr().out
    assert names(tmp_path / "**/*.txt") == ["b.txt", "e.txt"]
    assert names(tmp_path / ".d.txt") == [".d.txt"]
    with pytest.raises(UserError, match=r"c.csv: the ending is none of .parquet, .pq, .jsonl"):
        names(tmp_path / "c.csv")
    assert expand([str(tmp_path / "c.csv")], SUFFIXES, any_name=True) == [tmp_path / "c.csv"]


def test_a_finished_stage_stands_for_its_parts(tmp_path: Path) -> None:
    for name in ("documents-00000.parquet", "clusters.parquet", "dropped/a-b.parquet", MANIFEST):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('{"stage": "dedup"}')
    assert names(tmp_path) == ["documents-00000.parquet"]
    assert names(tmp_path / "*.parquet") == ["clusters.parquet", "documents-00000.parquet"]


def test_a_half_made_stage_stands_for_its_parts(tmp_path: Path) -> None:
    for name in ("documents-a.parquet", "dropped/a-b.parquet", "_work/plan.json", "_work/k-1.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    assert names(tmp_path) == ["documents-a.parquet"]


def test_a_manifest_of_another_program_hides_nothing(tmp_path: Path) -> None:
    for name in ("a.jsonl", "sub/b.jsonl", MANIFEST):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('{"files": []}')
    assert names(tmp_path) == ["a.jsonl", "b.jsonl"]


def test_links_count_once_and_keep_their_suffix_and_their_sources(tmp_path: Path) -> None:
    """The hub's cache has links to files whose names have no suffix."""
    (tmp_path / "stage").mkdir()
    (tmp_path / "stage" / MANIFEST).write_text('{"stage": "dedup"}')
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "stage" / "blob-0")
    (tmp_path / "train.parquet").symlink_to("stage/blob-0")
    (tmp_path / "again.parquet").symlink_to("train.parquet")
    assert names(tmp_path) == ["again.parquet"]
    (file,) = find_inputs([str(tmp_path / "train.parquet"), str(tmp_path)], SUFFIXES)
    assert file.name.endswith(".parquet")
    assert source_manifests([file.path]) == [{"stage": "dedup"}]


def finished(folder: Path) -> Path:
    """Make the folder of a finished stage with one file; return the file."""
    with Ledger(folder, "before", {}, []) as ledger:
        file = folder / "part-00000.jsonl"
        file.write_text('{"text": "hello"}\n' * 1000)
        ledger.finish(rows_in=0, rows_out=0, rejected=Counter())
    return file


def test_the_hash_of_a_stage_is_taken_over_and_checked_where_the_file_is_read(
    tmp_path: Path,
) -> None:
    path = finished(tmp_path / "before")
    (file,) = find_inputs([str(tmp_path / "before")], SUFFIXES, check_later=True)
    assert file.recorded
    assert file.hash == xxhash.xxh3_128_hexdigest(path.read_bytes())
    file.check()
    data = bytearray(path.read_bytes())
    data[777] ^= 4
    path.write_bytes(data)
    (file,) = find_inputs([str(tmp_path / "before")], SUFFIXES, check_later=True)
    for workers in (1, 2):
        read: list[str] = []
        with (
            pytest.raises(UserError, match=r"part-00000\.jsonl: damaged or changed since"),
            Ledger(tmp_path / "after", "after", {}, [file]) as ledger,
        ):
            ledger.run_files(read.append, ledger.inputs, label="test", workers=workers)
        assert not read
        assert not (tmp_path / "after").exists()
    with pytest.raises(UserError, match="delete its manifest.json if you changed"):
        find_inputs([str(path)], SUFFIXES)
    (tmp_path / "before" / MANIFEST).unlink()
    (file,) = find_inputs([str(path)], SUFFIXES, check_later=True)
    assert not file.recorded


def test_a_file_of_another_size_than_its_manifest_says_is_refused(tmp_path: Path) -> None:
    path = finished(tmp_path / "before")
    path.write_bytes(path.read_bytes()[:-18])
    for later in (True, False):
        with pytest.raises(UserError, match=r"17982 where .*manifest.json has 18000 \(bytes\)"):
            find_inputs([str(path)], SUFFIXES, check_later=later)


@pytest.mark.parametrize(
    "outputs",
    [None, 3, [3], [{"name": "part-00000.jsonl", "bytes": 18000, "xxh3": "../../x"}], [{}]],
)
def test_what_a_manifest_does_not_say_is_hashed(tmp_path: Path, outputs: object) -> None:
    """An earlier version has no such key; an invalid one counts as absent."""
    path = finished(tmp_path / "before")
    manifest = json.loads((path.parent / MANIFEST).read_text())
    del manifest[CHECKSUM]  # which earlier versions do not have either
    (path.parent / MANIFEST).write_text(json.dumps({**manifest, "outputs": outputs}))
    (file,) = find_inputs([str(path)], SUFFIXES, check_later=True)
    assert not file.recorded
    assert file.hash == xxhash.xxh3_128_hexdigest(path.read_bytes())


@pytest.mark.parametrize(
    "name", ["a [1]", "{b},c=d", "$HOME", "*", "line\nbreak", "~", "\U0001f600"]
)
def test_names_are_taken_literally(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in (f"{name}.txt", "1.txt", f"in {name}/{name}.jsonl"):
        Path(file).parent.mkdir(exist_ok=True)
        Path(file).write_text(file)
    assert names(f"{name}.txt") == [f"{name}.txt"]
    assert names(f"in {name}") == names(f"in {name}/*.jsonl") == [f"{name}.jsonl"]


def test_what_names_nothing_is_refused(tmp_path: Path) -> None:
    for given, message in (
        ("", "a path is empty; name a file or folder"),
        (str(tmp_path / "none"), "none does not exist"),
        (str(tmp_path), r"is a folder without a file in \.parquet, \.pq"),
        (str(tmp_path / "*.txt"), r"\*.txt matches no file"),
    ):
        with pytest.raises(UserError, match=message):
            expand([given], SUFFIXES)
    with pytest.raises(UserError, match="the list of files is empty"):
        expand([], SUFFIXES)


def of_parts(folder: Path, *numbers: int) -> list[Path]:
    """Make the folder of a finished stage with a part for each number."""
    folder.mkdir()
    parts = [folder / f"documents-{number:05d}.jsonl" for number in numbers]
    for part in parts:
        part.write_text(f'{{"text": "{part.name}"}}\n')
    outputs = [fingerprint(part) for part in parts]
    (folder / MANIFEST).write_text(json.dumps({"stage": "dedup", "outputs": outputs}))
    return parts


def test_the_folder_of_a_stage_that_lacks_a_part_is_refused(tmp_path: Path) -> None:
    first, second = of_parts(tmp_path / "dedup", 0, 1)
    second.unlink()
    for given in (tmp_path / "dedup", tmp_path):
        with pytest.raises(UserError, match=r"dedup lacks documents-00001.jsonl, which its"):
            find_inputs([str(given)], SUFFIXES)
    assert [file.path for file in find_inputs([str(first)], SUFFIXES)] == [first]


def test_a_part_that_the_stage_did_not_write_is_refused(tmp_path: Path) -> None:
    first, _ = of_parts(tmp_path / "dedup", 0, 1)
    added = first.with_name("documents-00002.jsonl")
    added.write_text('{"text": "another"}\n')
    with pytest.raises(UserError, match=r"documents-00002.jsonl is not in the manifest.json"):
        find_inputs([str(tmp_path / "dedup")], SUFFIXES)
    assert len(find_inputs([str(first), str(added)], SUFFIXES)) == 2


def test_the_folder_that_a_stage_makes_is_not_its_own_input(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n')
    of_parts(tmp_path / "out", 0)
    found = find_inputs([str(tmp_path)], SUFFIXES, out=tmp_path / "out")
    assert [file.name for file in found] == ["a.jsonl"]
    found = find_inputs([str(tmp_path / "out")], SUFFIXES, out=tmp_path / "out")
    assert [file.name for file in found] == ["documents-00000.jsonl"]


def test_files_without_rows_may_be_alike(tmp_path: Path) -> None:
    table = pa.table({"text": pa.array([], pa.string())})
    for name in ("a.parquet", "b.parquet"):
        pq.write_table(table, tmp_path / name)
    refuse_repeats(find_inputs([str(tmp_path)], SUFFIXES))
    for name in ("a.parquet", "b.parquet"):
        pq.write_table(pa.table({"text": ["one"]}), tmp_path / name)
    with pytest.raises(UserError, match="have the same content"):
        refuse_repeats(find_inputs([str(tmp_path)], SUFFIXES))
