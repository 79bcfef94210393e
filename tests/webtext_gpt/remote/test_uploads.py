"""Writing to a store: complete or recognizably not, and continued where it was cut."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from data_prep.stage.ledger import Ledger
from webtext_gpt.errors import UserError
from webtext_gpt.remote.uploads import unfinished_folders, written_folder

OUT = "memory://bucket/corpus/links"


def run_stage(out: str | Path, rate: int = 1) -> Ledger:
    """Write three files of which one is in a folder, as a stage does."""
    with Ledger(out, "links", {"rate": rate}, []) as ledger:
        if not ledger.finished:
            for name in ("links-0", "links-1", "more/links-2"):
                path = ledger.out / f"{name}.txt"
                path.parent.mkdir(exist_ok=True)
                path.write_text(f"{name} {rate}")
            ledger.finish(rows_in=3, rows_out=3, rejected=Counter())
    return ledger


def files_of(store: Any) -> dict[str, bytes]:
    root = "/bucket/corpus/links/"
    return {name[len(root) :]: store.cat_file(name) for name in store.find(root)}


def test_a_remote_folder_is_the_local_one(store: Any, tmp_path: Path) -> None:
    there, here = run_stage(OUT).manifest, run_stage(tmp_path / "links").manifest
    assert {**there, "seconds": 0, "manifest_sha256": ""} == {
        **here, "seconds": 0, "manifest_sha256": "",
    }  # fmt: skip
    found = files_of(store)
    assert json.loads(found.pop("manifest.json")) == there
    assert found == {
        "links-0.txt": b"links-0 1", "links-1.txt": b"links-1 1",
        "more/links-2.txt": b"more/links-2 1",
    }  # fmt: skip
    assert unfinished_folders(tmp_path / "cache/remote") == []


@pytest.fixture
def uploads(store: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are sent, in order; `fail` in it makes the next one fail."""
    sent: list[str] = []
    put_file = type(store).put_file

    def watched(self: Any, path: str, name: str, **more: Any) -> None:
        if "fail" in sent:
            raise PermissionError("quota exceeded")
        put_file(self, path, name, **more)
        sent.append(name.rpartition("/")[2])

    monkeypatch.setattr(type(store), "put_file", watched)
    return sent


def test_the_manifest_is_sent_last(store: Any, uploads: list[str]) -> None:
    run_stage(OUT)
    assert sorted(uploads[:-1]) == ["links-0.txt", "links-1.txt", "links-2.txt"]
    assert uploads[-1] == "manifest.json"


def test_a_finished_folder_is_not_made_again(store: Any, uploads: list[str]) -> None:
    first = run_stage(OUT).manifest
    uploads.clear()
    assert run_stage(OUT).manifest == first
    assert uploads == []


def test_another_corpus_at_the_address_is_refused(store: Any) -> None:
    run_stage(OUT)
    with pytest.raises(UserError, match=rf"{OUT} holds a finished corpus that differs: rate is 1"):
        run_stage(OUT, rate=2)


def test_other_files_at_the_address_are_refused(store: Any) -> None:
    store.pipe_file("/bucket/corpus/links/mine.txt", b"")
    with pytest.raises(UserError, match=f"{OUT} is not empty"):
        run_stage(OUT)


def test_an_upload_that_is_refused_goes_on_later(
    store: Any, uploads: list[str], tmp_path: Path
) -> None:
    uploads.append("fail")
    with pytest.raises(UserError, match=r"access is refused \(quota exceeded\)") as caught:
        run_stage(OUT)
    folder = tmp_path / "cache/remote/unfinished/memory/bucket/corpus/links"
    assert str(folder) in str(caught.value)
    assert unfinished_folders(tmp_path / "cache/remote") == [folder]
    assert list(files_of(store)) == ["_work/plan.json"]  # so no reader takes it for finished
    (folder / "links-0.txt").chmod(0o400)  # what is finished is not written again
    uploads.clear()
    run_stage(OUT)
    assert sorted(files_of(store)) == [
        "links-0.txt", "links-1.txt", "manifest.json", "more/links-2.txt",
    ]  # fmt: skip


def test_only_what_was_not_sent_is_sent_again(
    store: Any, uploads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_file = type(store).put_file

    def without_manifest(self: Any, path: str, name: str, **more: Any) -> None:
        if name.endswith("manifest.json"):
            raise ConnectionError("connection reset")
        put_file(self, path, name, **more)

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "put_file", without_manifest)
        with pytest.raises(UserError, match=r"links/manifest\.json: the host cannot be reached"):
            run_stage(OUT)
    assert len(uploads) == 3
    run_stage(OUT)
    assert uploads[3:] == ["manifest.json"]


def test_bad_input_leaves_no_claim_on_the_address(store: Any) -> None:
    with (
        pytest.raises(UserError, match="bad row"),
        Ledger(OUT, "links", {}, []),
    ):
        raise UserError("bad row")
    assert files_of(store) == {}
    run_stage(OUT)


def test_another_machine_is_kept_from_another_corpus(store: Any) -> None:
    store.pipe_file(
        "/bucket/corpus/links/_work/plan.json",
        json.dumps({"stage": "links", "format": 1, "config": {"rate": 7}, "inputs": []}).encode(),
    )
    with pytest.raises(
        UserError, match=rf"{OUT} holds an unfinished corpus that differs: rate is 7"
    ):
        run_stage(OUT)


def test_a_folder_without_manifest_is_sent_whole(store: Any) -> None:
    with written_folder("memory://bucket/report") as folder:
        (folder / "report.md").write_text("# Report")
        (folder / "a.png").write_bytes(b"png")
    assert store.cat_file("/bucket/report/report.md") == b"# Report"
    assert store.cat_file("/bucket/report/a.png") == b"png"
