"""Reading from a store: copies are right, made once, and made again when the store changes."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
import pytest

from webtext_gpt.data.cache import REMOTE
from webtext_gpt.data.sources import Files
from webtext_gpt.errors import UserError
from webtext_gpt.paths import find_files, names_files, readable_path, search_files
from webtext_gpt.remote.buckets import buckets, remove_copies
from webtext_gpt.remote.mirror import copy_of


def texts(path: Path) -> bool:
    return path.suffix == ".txt"


def names(address: str) -> list[str]:
    return [file.name for file in find_files(address, texts, key="data.path", kinds="texts")]


@pytest.fixture
def filled(store: fsspec.AbstractFileSystem) -> fsspec.AbstractFileSystem:
    for name in ("a.txt", "b.txt", "c.csv", "deep/d.txt", ".hidden.txt", "deep/.e/f.txt"):
        store.pipe_file(f"/bucket/in/{name}", name.encode())
    return store


def test_a_folder_stands_for_the_files_of_its_kind(filled: Any, tmp_path: Path) -> None:
    found = search_files("memory://bucket/in/", texts, key="data.path", kinds="texts")
    place = tmp_path / "cache/remote/memory/bucket/in"
    assert found.files == [place / "a.txt", place / "b.txt", place / "deep/d.txt"]
    assert [file.read_bytes() for file in found.files] == [b"a.txt", b"b.txt", b"deep/d.txt"]
    assert found.others == [place / "c.csv"]
    assert not (place / "c.csv").exists()  # never downloaded


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("memory://bucket/in/a.txt", ["a.txt"]),
        ("memory://bucket/in/*.txt", ["a.txt", "b.txt"]),
        ("memory://bucket/in/[bc].*", ["b.txt", "c.csv"]),
        ("memory://bucket/in/**/*.txt", ["a.txt", "b.txt", "d.txt"]),
        ("memory://bucket/*/c.csv", ["c.csv"]),
    ],
)
def test_files_and_patterns(filled: Any, address: str, expected: list[str]) -> None:
    assert names(address) == expected


def test_a_name_that_exists_is_no_pattern(store: fsspec.AbstractFileSystem) -> None:
    store.pipe_file("/bucket/[a].txt", b"literal")
    store.pipe_file("/bucket/a.txt", b"matched")
    assert copy_of("memory://bucket/[a].txt").read_bytes() == b"literal"


class _Failure(NamedTuple):
    address: str
    says: str


@pytest.mark.parametrize(
    "case",
    [
        _Failure("memory://bucket/no.txt", "data.path=memory://bucket/no.txt does not exist"),
        _Failure("memory://bucket/in/*.md", "data.path=memory://bucket/in/*.md matches no file"),
        _Failure("memory://buck*/in", "the bucket cannot be a pattern"),
        _Failure("nosuch://bucket/in", "no kind of address begins with nosuch://"),
    ],
)
def test_what_is_not_there_is_named(filled: Any, case: _Failure) -> None:
    with pytest.raises(UserError) as caught:
        names(case.address)
    assert case.says in str(caught.value)


def test_a_folder_without_texts_says_what_it_holds(store: fsspec.AbstractFileSystem) -> None:
    store.pipe_file("/bucket/in/c.csv", b"1")
    with pytest.raises(UserError, match=r"is a folder without texts; it holds c\.csv"):
        names("memory://bucket/in")


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch, store: Any) -> list[str]:
    """Names of the files that are downloaded, in order."""
    made: list[str] = []
    get_file = type(store).get_file

    def counted(self: Any, name: str, target: str, **more: Any) -> None:
        made.append(name)
        get_file(self, name, target, **more)

    monkeypatch.setattr(type(store), "get_file", counted)
    return made


def test_a_file_is_downloaded_again_only_when_it_changes(filled: Any, downloads: list[str]) -> None:
    for _ in range(2):
        names("memory://bucket/in")
    assert sorted(downloads) == [f"/bucket/in/{n}" for n in ("a.txt", "b.txt", "deep/d.txt")]
    filled.pipe_file("/bucket/in/b.txt", b"B.txt")  # of the same size
    downloads.clear()
    assert copy_of("memory://bucket/in/b.txt").read_bytes() == b"B.txt"
    assert downloads == ["/bucket/in/b.txt"]


def test_a_copy_that_was_cut_short_is_made_again(filled: Any) -> None:
    copy = copy_of("memory://bucket/in/a.txt")
    os.truncate(copy, 1)
    assert copy_of("memory://bucket/in/a.txt").read_bytes() == b"a.txt"


def test_what_the_store_no_longer_has_is_gone(filled: Any, tmp_path: Path) -> None:
    folder = readable_path("memory://bucket/in")
    filled.rm("/bucket/in/a.txt")
    assert readable_path("memory://bucket/in") == folder
    assert sorted(p.name for p in folder.rglob("*.txt")) == ["b.txt", "d.txt"]


def _changing(monkeypatch: pytest.MonkeyPatch, store: Any, change: Callable[[], None]) -> None:
    get_file = type(store).get_file

    def changed(self: Any, name: str, target: str, **more: Any) -> None:
        get_file(self, name, target, **more)
        change()

    monkeypatch.setattr(type(store), "get_file", changed)


@pytest.mark.parametrize("new", [b"A.txt", b"longer than it was"])
def test_a_file_that_changes_while_it_is_read_is_refused(
    filled: Any, monkeypatch: pytest.MonkeyPatch, new: bytes, tmp_path: Path
) -> None:
    _changing(monkeypatch, filled, lambda: filled.pipe_file("/bucket/in/a.txt", new))
    with pytest.raises(UserError, match=r"memory://bucket/in/a\.txt changed while it was read"):
        names("memory://bucket/in/a.txt")
    assert not (tmp_path / "cache/remote/memory/bucket/in/a.txt").exists()


def test_a_folder_whose_stage_is_not_finished_is_refused(store: Any) -> None:
    store.pipe_file("/bucket/dedup/_work/plan.json", b"{}")
    store.pipe_file("/bucket/dedup/part-0.txt", b"half of it")
    with pytest.raises(UserError, match=r"memory://bucket/dedup is not finished"):
        names("memory://bucket/dedup")


@pytest.mark.parametrize(
    ("name", "address", "says"),
    [
        ("../../../x.txt", "memory://bucket/in", "is a folder without texts"),
        ("../../../x.txt", "memory://bucket/in/.*", "which no disk can have"),
        ("a//x.txt", "memory://bucket/in", "which no disk can have"),
    ],
)
def test_no_name_leads_out_of_the_cache(
    filled: Any, monkeypatch: pytest.MonkeyPatch, name: str, address: str, says: str
) -> None:
    info = {"name": f"/bucket/in/{name}", "size": 1, "type": "file", "created": 1.0}
    for method in ("find", "glob"):
        monkeypatch.setattr(type(filled), method, lambda *_, **__: {info["name"]: info})
    with pytest.raises(UserError, match=says):
        names(address)


def test_too_little_room_is_noticed_before_the_download(
    filled: Any, monkeypatch: pytest.MonkeyPatch, downloads: list[str]
) -> None:
    usage = shutil.disk_usage("/")._replace(free=3)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match="has room for 0.0 GB"):
        names("memory://bucket/in")
    assert downloads == []


def test_texts_of_a_store_are_the_same_data(filled: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.txt", "b.txt"):
        (tmp_path / "in" / name).write_bytes(name.encode())
    here = Files(f"{tmp_path}/in/*.txt", 0.5)
    there = Files("memory://bucket/in/*.txt", 0.5)
    assert there.fingerprint() == here.fingerprint()
    assert list(there.documents()) == list(here.documents()) == ["a.txt", "b.txt"]


def test_names_files_asks_the_store(filled: Any) -> None:
    assert names_files("memory://bucket/in/*.txt")
    assert not names_files("memory://bucket/in/*.md")


def test_the_copies_of_a_bucket_are_listed_and_removed(filled: Any, tmp_path: Path) -> None:
    copy = copy_of("memory://bucket/in/a.txt")
    record = copy.with_name(".a.txt.remote")
    bucket = tmp_path / "cache/remote/memory/bucket"
    assert buckets(tmp_path / "cache" / REMOTE) == {bucket: 5 + record.stat().st_size}
    assert not remove_copies(bucket)  # this process uses them
    assert copy.exists()


def test_a_store_whose_package_is_missing_names_it(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)  # an import of it fails
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(UserError, match=r"s3://bucket/x: .*s3fs"):
        copy_of("s3://bucket/x")
