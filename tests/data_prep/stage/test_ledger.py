"""The ledger: which folders it accepts, which units it repeats, and how it counts."""

import fcntl
import hashlib
import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from data_prep.stage import workers
from data_prep.stage.inputs import InputFile, find_inputs
from data_prep.stage.ledger import Ledger
from data_prep.stage.records import Records
from webtext_gpt.errors import UserError

# XXH3 (128 bits) of these texts, computed once with version 4.1.0 of the package `xxhash`. The
# specification's formulas for inputs of 1 to 3 and of 4 to 8 bytes gave the same.
HASHES = {
    "one": "0a1c6d4cf41eb499911faba7321fe1a0",
    "two": "35d5c8cc887e4da96c0560bdcb29998b",
    "three": "3770bf919c6f37ecbd8dc69679faa810",
}


def write_inputs(folder: Path) -> list[InputFile]:
    """Write three files whose names and hashes sort differently."""
    folder.mkdir(exist_ok=True)
    for text in HASHES:
        (folder / f"{text}.txt").write_text(text)
    return find_inputs([str(folder)], (".txt",))


@pytest.fixture
def files(tmp_path: Path) -> list[InputFile]:
    return write_inputs(tmp_path / "inputs")


def opened(out: Path, files: list[InputFile], **changed: Any) -> Ledger:
    plan: dict[str, Any] = {"stage": "count", "config": {"least": 3}, "inputs": files, **changed}
    return Ledger(out, **plan)


def count_characters(file: InputFile) -> dict[str, Any]:
    text = file.path.read_text()
    return {"rows": len(text), "rejected": {"vowel": sum(c in "aeiou" for c in text)}}


def finish(ledger: Ledger, work: Any = count_characters, workers_at_once: int = 1) -> None:
    records = ledger.run_files(work, ledger.inputs, label="test", workers=workers_at_once)
    rows = records.total("rows")
    rejected = records.rejected
    ledger.finish(rows_in=rows, rows_out=rows - rejected.total(), rejected=rejected, answer=42)


def test_a_finished_folder_holds_a_manifest_and_no_work(
    tmp_path: Path, files: list[InputFile]
) -> None:
    out = tmp_path / "out"
    with opened(out, files, sources=[{"stage": "before"}]) as ledger:
        assert not ledger.finished
        with pytest.raises(RuntimeError, match="not finished"):
            _ = ledger.manifest
        (out / "part-0").write_bytes(b"12345")
        finish(ledger)
    manifest = json.loads((out / "manifest.json").read_text())
    digest = manifest.pop("manifest_sha256")
    text = json.dumps(manifest, sort_keys=True)
    assert digest == hashlib.sha256(text.encode()).hexdigest()
    assert manifest.pop("seconds") >= 0
    assert manifest == {
        "stage": "count", "format": 1, "config": {"least": 3},
        "inputs": [
            {"name": f"{text}.txt", "bytes": len(text), "xxh3": digest}
            for text, digest in sorted(HASHES.items(), key=lambda item: item[1])
        ],
        "rows_in": 11, "rows_used": 6, "rows_out": 6, "rejected": {"vowel": 5}, "answer": 42,
        "sources": [{"stage": "before"}], "bytes": 5,
        # XXH3 (128 bits) of `12345`, by `xxhash.xxh3_128_hexdigest`
        "outputs": [{"name": "part-0", "bytes": 5, "xxh3": "4af3da69f61e14cf26f4c14b6b6bfdb4"}],
    }  # fmt: skip
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json", "part-0"]
    with opened(out, files) as ledger:
        assert ledger.finished
        assert ledger.manifest["answer"] == 42


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"stage": "other"}, "stage is 'count' there, 'other' here"),
        ({"format": 2}, "format is 1 there, 2 here"),
        ({"config": {"least": 4}}, "least is 3 there, 4 here"),
        ({"config": {"least": 3, "most": 9}}, "most is not recorded there, 9 here"),
        ({"config": {}}, "least is 3 there, None here"),
    ],
)
def test_another_corpus_is_refused(
    tmp_path: Path, files: list[InputFile], finished: bool, changed: dict[str, Any], message: str
) -> None:
    out = tmp_path / "out"
    with opened(out, files) as ledger:
        if finished:
            finish(ledger)
    kind = "a finished corpus" if finished else "an unfinished corpus"
    with pytest.raises(UserError, match=f"holds {kind} that differs: {message}"):
        opened(out, files, **changed)
    opened(out, files)  # the folder is unchanged


def test_other_inputs_are_refused_but_not_other_names(
    tmp_path: Path, files: list[InputFile]
) -> None:
    out = tmp_path / "out"
    with opened(out, files) as ledger:
        finish(ledger)
    for file in files:
        file.path.rename(file.path.with_name(f"new-{file.name}"))
    assert opened(out, find_inputs([str(tmp_path / "inputs")], (".txt",))[::-1]).finished
    (tmp_path / "inputs/new-two.txt").write_text("four")
    with pytest.raises(UserError, match=r"there: \['two.txt'\], here: \['new-two.txt'\]"):
        opened(out, find_inputs([str(tmp_path / "inputs")], (".txt",)))


def test_a_finished_folder_may_lack_a_newer_key_an_unfinished_one_starts_again(
    tmp_path: Path, files: list[InputFile], capsys: pytest.CaptureFixture[str]
) -> None:
    newer: dict[str, Any] = {"config": {"least": 3, "most": 9}, "newer_keys": ["most"]}
    out = tmp_path / "out"
    with opened(out, files) as ledger:
        finish(ledger)
    assert opened(out, files, **newer).finished

    half, done = tmp_path / "half", []
    with opened(half, files) as ledger:
        ledger.run_files(count_characters, ledger.inputs[:1], label="test", workers=1)
        (half / "part").write_text("of the earlier version")
    with pytest.raises(UserError, match="an unfinished corpus that differs: most is not"):
        opened(half, files, config=newer["config"])

    def count(file: InputFile) -> dict[str, Any]:
        done.append(file.hash)
        return count_characters(file)

    with opened(half, files, **newer) as ledger:
        assert "started by an earlier version of this stage; starting again" in (
            capsys.readouterr().out
        )
        assert not (half / "part").exists()
        finish(ledger, count)
    assert sorted(done) == sorted(HASHES.values())
    assert json.loads((half / "manifest.json").read_text())["config"] == newer["config"]
    with opened(tmp_path / "new", files, config={"least": 3, "most": 8}) as ledger:
        finish(ledger)
    with pytest.raises(UserError, match="most is 8 there, 9 here"):
        opened(tmp_path / "new", files, **newer)


def test_settings_are_compared_as_json(tmp_path: Path, files: list[InputFile]) -> None:
    with opened(tmp_path / "out", files, config={"carry": ("a", "b")}) as ledger:
        finish(ledger)
    assert opened(tmp_path / "out", files, config={"carry": ["a", "b"]}).finished


def test_foreign_folders_and_equal_inputs_are_refused(
    tmp_path: Path, files: list[InputFile]
) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty and not the folder of a stage"):
        opened(tmp_path / "foreign", files)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/manifest.json").write_text("[")
    with pytest.raises(UserError, match=r"manifest\.json: not JSON"):
        opened(tmp_path / "broken", files)
    (tmp_path / "inputs/copy.txt").write_text("two")
    with pytest.raises(UserError, match=r"copy\.txt and two\.txt have the same content"):
        opened(tmp_path / "out", find_inputs([str(tmp_path / "inputs")], (".txt",)))
    assert not (tmp_path / "out").exists()


def test_bad_input_leaves_no_folder_that_refuses_the_corrected_call(
    tmp_path: Path, files: list[InputFile]
) -> None:
    def refuse() -> None:
        raise UserError("a.txt is a PNG image")

    with pytest.raises(UserError, match="PNG"), opened(tmp_path / "out", files, config={"a": 1}):
        refuse()
    assert not (tmp_path / "out").exists()
    with opened(tmp_path / "out", files) as ledger:
        ledger.run_unit("one", lambda: {"rows": 1})
    with pytest.raises(UserError, match="PNG"), opened(tmp_path / "out", files):
        refuse()
    with opened(tmp_path / "out", files) as ledger:  # what was done is kept
        assert ledger.done("one") == {"rows": 1}
    with pytest.raises(UserError, match="an unfinished corpus that differs"):
        opened(tmp_path / "out", files, config={"a": 1})


def test_only_one_process_may_write_to_a_folder(tmp_path: Path, files: list[InputFile]) -> None:
    out = tmp_path / "out"
    with opened(out, files):
        with (
            pytest.raises(UserError, match="another process is making this corpus"),
            opened(out, files),
        ):
            pass
        with (out / "_work/lock").open("w") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with opened(out, files) as ledger:  # the lock is free again
        finish(ledger)


@pytest.mark.parametrize("workers_at_once", [1, 2])
def test_a_resumed_stage_repeats_only_unfinished_units(
    tmp_path: Path, files: list[InputFile], workers_at_once: int
) -> None:
    """three.txt, the longest, comes first. The failure of two.txt does not stop the others."""
    out, log = tmp_path / "out", tmp_path / "log"
    (tmp_path / "fail").write_text("")
    work = partial(_logged, log=log, fail=tmp_path / "fail")
    with pytest.raises(UserError, match=r"two\.txt is bad"), opened(out, files) as ledger:
        finish(ledger, work, workers_at_once)
    assert not (out / "manifest.json").exists()
    assert sorted(log.read_text().split()) == ["one.txt", "three.txt", "two.txt"]
    if workers_at_once == 1:
        assert log.read_text().split() == ["three.txt", "one.txt", "two.txt"]
    done = {path.stem for path in (out / "_work/done").iterdir()}
    assert done == {HASHES["one"], HASHES["three"]}
    (tmp_path / "fail").unlink()
    log.unlink()
    with opened(out, files) as ledger:
        finish(ledger, work, workers_at_once)
        assert ledger.manifest["rows_in"] == 11
    assert log.read_text().split() == ["two.txt"]


def _logged(file: InputFile, log: Path, fail: Path) -> dict[str, Any]:
    with log.open("a") as lines:
        lines.write(f"{file.name}\n")
    if file.name == "two.txt" and fail.exists():
        raise UserError(f"{file.name} is bad")
    workers.advance(file.size)
    return count_characters(file)


def test_records_are_in_the_order_of_the_files(tmp_path: Path, files: list[InputFile]) -> None:
    asked = [files[2], files[0], files[1]]
    with opened(tmp_path / "out", files) as ledger:
        records = ledger.run_files(_name, asked, label="test", workers=2)
        assert [record["name"] for record in records] == ["two.txt", "one.txt", "three.txt"]
        again = ledger.run_files(_name, asked[::-1], label="test", workers=2)
        assert [record["name"] for record in again] == ["three.txt", "one.txt", "two.txt"]


def _name(file: InputFile) -> dict[str, str]:
    return {"name": file.name}


def test_a_unit_is_run_once(tmp_path: Path, files: list[InputFile]) -> None:
    calls = []

    def work() -> dict[str, Any]:
        calls.append(1)
        return {"sizes": (1, 2)}

    for _ in range(2):
        with opened(tmp_path / "out", files) as ledger:
            assert ledger.done("part-0") == ({"sizes": [1, 2]} if calls else None)
            assert ledger.run_unit("part-0", work) == {"sizes": [1, 2]}
    assert calls == [1]


def test_a_part_is_run_once(tmp_path: Path, files: list[InputFile]) -> None:
    calls = []

    def work(part: int) -> dict[str, Any]:
        calls.append(part)
        return {"sizes": (part, 2)}

    with opened(tmp_path / "out", files) as ledger:
        assert ledger.run_parts(work, {"part-1": 1}, label="test") == [{"sizes": [1, 2]}]
    with opened(tmp_path / "out", files) as ledger:
        assert ledger.done("part-1") == {"sizes": [1, 2]}
        found = ledger.run_parts(work, {"part-0": 0, "part-1": 1}, label="test")
        assert found == [{"sizes": [0, 2]}, {"sizes": [1, 2]}]  # in the order of the parts
    assert calls == [1, 0]


def test_counts_are_added_up() -> None:
    records = Records(
        [
            {"rows": 3, "rejected": {"a": 1}},
            {"rows": 4, "rejected": {}},
            {"rows": 5, "rejected": {"a": 2, "b": 4}},
        ]
    )
    assert records.total("rows") == 12
    assert records.rejected == {"a": 3, "b": 4}
    assert Records[dict[str, Any]]().rejected == {}


def test_counts_that_do_not_add_up_raise(tmp_path: Path, files: list[InputFile]) -> None:
    out = tmp_path / "out"
    with opened(out, files) as ledger:
        with pytest.raises(RuntimeError, match="10 rows in, but 6 used"):
            ledger.finish(rows_in=10, rows_out=6, rejected=Counter(a=3))
        assert not (out / "manifest.json").exists()
        ledger.finish(rows_in=10, rows_out=2, rows_used=7, rejected=Counter(b=3, a=0))
        assert ledger.manifest["rejected"] == {"b": 3}
        assert (ledger.manifest["rows_used"], ledger.manifest["rows_out"]) == (7, 2)


def test_leftovers_of_a_killed_run_are_deleted(tmp_path: Path, files: list[InputFile]) -> None:
    out = tmp_path / "out"
    with opened(out, files):
        pass
    (out / "dropped").mkdir()
    leftovers = [
        out / ".part-0.parquet.partial", out / "dropped/.x.parquet.4711.partial",
        out / "_work/.posts.parquet.4711.tmp", out / ".documents-1.jsonl.tmp",
    ]  # fmt: skip
    kept = [out / "part-0.parquet", out / "dropped/x.tmp", out / "_work/posts.partial"]
    for path in [*leftovers, *kept]:
        path.write_text("half")
    with opened(out, files):
        assert not any(path.exists() for path in leftovers)
        assert all(path.exists() for path in kept)


def test_outputs_are_listed_with_the_hash_of_their_last_content(
    tmp_path: Path, files: list[InputFile]
) -> None:
    out = tmp_path / "out"

    def write(text: str, *names: str) -> Any:
        for name in names:
            (out / name).parent.mkdir(exist_ok=True)
            (out / name).write_text(text)
        return {}

    with opened(out, files) as ledger:
        ledger.run_unit("one", partial(write, "one", "part-0", "dropped/part-0", "_work/scratch"))
        ledger.run_unit("two", partial(write, "two", "part-1", "dropped/part-1", "part-0"))
        (out / "table").write_text("three")
        (out / ".hidden").write_text("three")
        finish(ledger)
        expected = {"part-0": "two", "dropped/part-0": "one", "part-1": "two",
                    "dropped/part-1": "two", "table": "three"}  # fmt: skip
        found = {entry["name"]: entry["xxh3"] for entry in ledger.manifest["outputs"]}
        assert found == {name: HASHES[text] for name, text in expected.items()}
    with opened(tmp_path / "own", files, outputs=False) as ledger:
        finish(ledger)
        assert "outputs" not in ledger.manifest


def test_a_folder_of_the_first_release_is_resumed(tmp_path: Path, files: list[InputFile]) -> None:
    """A plan and a record of that version, written by hand; the order of keys differs."""
    out = tmp_path / "out"
    (out / "_work/done").mkdir(parents=True)
    inputs = ", ".join(
        f'{{"name": "{text}.txt", "bytes": {len(text)}, "xxh3": "{digest}"}}'
        for text, digest in HASHES.items()
    )
    (out / "_work/plan.json").write_text(
        f'{{"format": 1, "stage": "count", "inputs": [{inputs}], "config": {{"least": 3}}}}'
    )
    (out / f"_work/done/{HASHES['one']}.json").write_text('{"rows": 100, "rejected": {"old": 1}}')
    with opened(out, files) as ledger:
        finish(ledger)
        assert ledger.manifest["rows_in"] == 108
        assert ledger.manifest["rejected"] == {"old": 1, "vowel": 3}
