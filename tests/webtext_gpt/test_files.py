"""Files written aside: complete or absent whatever fails, without leftovers."""

import errno
import json
import os
from pathlib import Path

import pytest

from webtext_gpt.files import (
    new_folder,
    partial_path,
    publish,
    remove,
    remove_partials,
    replaced,
    write_json,
    write_json_lines,
    write_text,
)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("durable", [False, True])
def test_the_old_file_stays_until_the_new_one_is_complete(durable: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replaced(path, durable=durable) as partial:
        partial.write_text("new")
        assert partial.parent == tmp_path
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert _names(tmp_path) == ["a.txt"]


def _write_half(path: Path, durable: bool, error: type[BaseException]) -> None:
    with replaced(path, durable=durable) as partial:
        partial.write_text("half")
        raise error


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_failure_leaves_the_old_file(
    error: type[BaseException], durable: bool, tmp_path: Path
) -> None:
    path = tmp_path / "a.txt"
    for before in (None, "old"):
        if before is not None:
            path.write_text(before)
        with pytest.raises(error):
            _write_half(path, durable, error)
        assert _names(tmp_path) == ([] if before is None else ["a.txt"])
    assert path.read_text() == "old"


def test_two_processes_do_not_write_the_same_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    ours = partial_path(path)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert partial_path(path) != ours
    assert ours.name.startswith(".a.txt.")


def test_a_durable_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "a.txt", []

    def fsync(number: int) -> None:
        synced.append((os.readlink(f"/proc/self/fd/{number}"), path.exists()))  # noqa: PTH115

    monkeypatch.setattr(os, "fsync", fsync)
    with replaced(path, durable=True) as partial:
        partial.write_text("x")
    assert synced == [(str(partial), False), (str(tmp_path), True)]
    synced.clear()
    with replaced(path) as partial:
        partial.write_text("x")
    assert synced == []


def test_a_full_disk_leaves_nothing_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(OSError, match="No space left"),
        replaced(tmp_path / "a", durable=True) as partial,
    ):
        partial.write_text("x")
    assert _names(tmp_path) == []


def test_a_folder_appears_only_when_complete(tmp_path: Path) -> None:
    folder = tmp_path / "inside" / "shards"
    with new_folder(folder) as partial:
        (partial / "a").write_text("x")
        assert not folder.exists()
    assert _names(folder.parent) == ["shards"]
    assert _names(folder) == ["a"]
    with pytest.raises(FileNotFoundError), new_folder(tmp_path / "other") as partial:
        (partial / "a" / "b").write_text("x")
    assert _names(tmp_path) == ["inside"]


def test_a_folder_does_not_keep_what_a_killed_writer_left(tmp_path: Path) -> None:
    left = tmp_path / ".shards.partial"
    left.mkdir()
    (left / "tokens-00007.bin").write_text("half")
    with new_folder(tmp_path / "shards") as partial:
        (partial / "a").write_text("x")
    assert _names(tmp_path / "shards") == ["a"]


def test_texts_and_json_are_read_back_unchanged(tmp_path: Path) -> None:
    rows = [{"text": 'a "b"\nü', "n": None}, {"text": "", "n": 2}]
    folder = tmp_path / "new"
    write_json_lines(folder / "rows.jsonl", iter(rows))
    lines = (folder / "rows.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == rows
    assert "ü" in lines[0]
    write_json(folder / "a.json", {"x": ["ü"]})
    assert (folder / "a.json").read_bytes() == b'{\n  "x": [\n    "\\u00fc"\n  ]\n}\n'
    write_json(folder / "a.json", {"x": "ü"}, indent=1, ensure_ascii=False)
    assert (folder / "a.json").read_text("utf-8") == '{\n "x": "ü"\n}\n'
    write_text(folder / "a.txt", "ü\n")
    assert (folder / "a.txt").read_bytes() == "ü\n".encode()
    assert _names(folder) == ["a.json", "a.txt", "rows.jsonl"]


def test_rows_that_fail_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        write_json_lines(tmp_path / "rows.jsonl", ({"n": 1 // n} for n in (1, 0)))
    assert _names(tmp_path) == []


def test_leftovers_of_killed_processes_are_removed(tmp_path: Path) -> None:
    for name in (".a.ckpt.1.partial", ".b.partial", "c.partial", ".d.ckpt.old"):
        (tmp_path / name).write_text("x")
    (tmp_path / ".e.partial").mkdir()
    (tmp_path / ".e.partial" / "inside").write_text("x")
    remove_partials(tmp_path)
    assert _names(tmp_path) == [".d.ckpt.old", "c.partial"]


def test_a_link_is_removed_and_its_target_kept(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    remove(tmp_path / "link")
    remove(tmp_path / "link")  # nothing is there
    assert _names(tmp_path) == ["folder"]


def test_publishing_replaces_a_file_or_folder(tmp_path: Path) -> None:
    for old in ("file", "folder", None):
        for new in ("file", "folder"):
            path, partial = tmp_path / "a.ckpt", tmp_path / ".a.ckpt.partial"
            for kind, place in ((old, path), (new, partial)):
                if kind == "file":
                    place.write_text(kind)
                elif kind == "folder":
                    place.mkdir()
                    (place / "inside").write_text(kind)
            publish(partial, path)
            assert path.is_dir() == (new == "folder")
            assert [p.name for p in tmp_path.iterdir()] == ["a.ckpt"]
            (path / "inside").unlink() if path.is_dir() else path.unlink()
            if path.is_dir():
                path.rmdir()
