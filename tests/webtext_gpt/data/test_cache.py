"""The cache of token shards: killed builds, sizes, removal, and a full disk."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from webtext_gpt.commands import main
from webtext_gpt.data import cache, prepare, shard_writer
from webtext_gpt.data.cache import clear_leftovers, entries, lock_of, remove, size_text
from webtext_gpt.data.prepare import prepare_shards
from webtext_gpt.data.shards import TokenShards
from webtext_gpt.data.sources import Files
from webtext_gpt.errors import UserError
from webtext_gpt.tokenizer import build_char_vocabulary

BUILD = """
import sys, time
from functools import partial
from pathlib import Path
from webtext_gpt.data import shard_writer
from webtext_gpt.data.prepare import prepare_shards
from webtext_gpt.data.sources import Files
from webtext_gpt.tokenizer import build_char_vocabulary
if sys.argv[3] == "build":  # stop in the middle
    close = shard_writer._Writer.close
    shard_writer._Writer.close = lambda self: (close(self), time.sleep(60))
shards = prepare_shards(Files(sys.argv[1], 0.1), partial(build_char_vocabulary), sys.argv[2])
print("opened", flush=True)
time.sleep(60)
"""


def build(tmp_path: Path, text: str = "some text " * 50) -> TokenShards:
    (tmp_path / "a.txt").write_text(text)
    source = Files(str(tmp_path / "a.txt"), 0.1)
    return prepare_shards(source, partial(build_char_vocabulary), tmp_path / "cache")


def process(tmp_path: Path, until: str) -> subprocess.Popen[str]:
    """Start a process that is building an entry, or has one open."""
    (tmp_path / "b.txt").write_text("other text " * 50)
    arguments = [str(tmp_path / "b.txt"), str(tmp_path / "cache"), until]
    started = subprocess.Popen(
        [sys.executable, "-c", BUILD, *arguments], stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while until == "build" and not list((tmp_path / "cache").glob(".*.partial/documents-*")):
        assert started.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    if until == "open":
        assert started.stdout
        assert any(line == "opened\n" for line in started.stdout)
    return started


@pytest.fixture
def kill() -> Callable[[subprocess.Popen[str]], None]:
    def _kill(started: subprocess.Popen[str]) -> None:
        os.kill(started.pid, signal.SIGKILL)
        started.communicate()

    return _kill


def test_a_killed_build_is_cleared_away_by_the_next(
    tmp_path: Path, kill: Callable[[subprocess.Popen[str]], None]
) -> None:
    """Also if the next builds another entry; while it is being built, it is left alone."""
    building = process(tmp_path, "build")
    try:
        (partial_folder,) = (tmp_path / "cache").glob(".*.partial")
        shards = build(tmp_path)
        assert partial_folder.is_dir()
    finally:
        kill(building)
    assert partial_folder.is_dir()
    assert build(tmp_path).folder == shards.folder
    assert not list((tmp_path / "cache").glob(".*"))


def test_an_entry_that_a_process_reads_is_not_removed(
    tmp_path: Path, kill: Callable[[subprocess.Popen[str]], None],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    del_me = build(tmp_path).folder
    reading = process(tmp_path, "open")
    try:
        capsys.readouterr()
        main(["cache", f"cache_dir={tmp_path / 'cache'}", "empty=true"])
        out = capsys.readouterr().out
        assert "2 entries" in out
        assert out.count("removed") == out.count("kept: a process is using it") == 1
        (left,) = entries(tmp_path / "cache")
        assert left.folder != del_me
    finally:
        kill(reading)
    assert remove(left)
    assert entries(tmp_path / "cache") == []


def test_an_entry_that_is_being_opened_is_not_removed(tmp_path: Path) -> None:
    build(tmp_path)
    (entry,) = entries(tmp_path / "cache")
    with lock_of(entry.folder):
        assert not remove(entry)
    assert remove(entry)


def test_the_command_lists_and_removes_entries_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = build(tmp_path).folder
    cache = tmp_path / "cache"
    mine = [cache / "notes.txt", cache / "files-0123456789abcdef/letter.txt",
            cache / "shards/manifest.json", cache / ".own.partial/x"]  # fmt: skip
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    (cache / "files-fedcba9876543210").symlink_to(tmp_path / "elsewhere")
    size = sum(path.stat().st_size for path in folder.iterdir())
    capsys.readouterr()
    main(["cache", f"cache_dir={cache}"])
    out = capsys.readouterr().out
    assert f"1 entry, {size_text(size)}" in out
    assert f"  {folder.name}\n{'':11}a.txt; build_char_vocabulary" in out
    assert max(map(len, out.splitlines()[1:])) <= 80
    main(["cache", f"cache_dir={cache}", "empty=true"])
    assert not folder.exists()
    assert all(path.read_text() == "mine" for path in mine)
    assert (cache / "files-fedcba9876543210").is_symlink()
    main(["cache", f"cache_dir={tmp_path / 'none'}", "empty=true"])
    assert "0 entries, 0 B" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()


def test_a_build_says_where_and_how_large_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = build(tmp_path).folder
    size = sum(path.stat().st_size for path in folder.iterdir())
    out = capsys.readouterr().out
    assert f"building token shards, once, in {folder}" in out
    assert (
        f"token shards of {size_text(size)}; to list or empty the cache of {size_text(size)}:"
        in out
    )


def test_a_full_disk_leaves_nothing_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: shard_writer._Writer) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shard_writer._Writer, "_flush", full)
    with pytest.raises(UserError, match=r"the disk is full.*free some space, or name a cache_dir="):
        build(tmp_path)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_writer_that_fails_removes_its_files(tmp_path: Path) -> None:
    """A stage writes into the folder that it will keep."""

    def documents():  # type: ignore[no-untyped-def]
        yield "train", "abc", shard_writer.np.zeros(3, "u4")
        yield "validation", "abc", shard_writer.np.zeros(3, "u4")
        raise OSError(errno.ENOSPC, "no space")

    tokenizer = build_char_vocabulary(["abc"])
    with pytest.raises(OSError, match="no space"):
        shard_writer.write_files(documents(), tokenizer, tmp_path, lambda _: None, shard_tokens=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (61_573_621, "61.6 MB"), (10**12, "1.0 TB")],
)
def test_sizes_are_readable(size: int, text: str) -> None:
    assert size_text(size) == text


def test_leftovers_of_a_missing_cache_are_none(tmp_path: Path) -> None:
    clear_leftovers(tmp_path / "none")
    assert prepare.entries(tmp_path / "none") == []


def test_an_entry_that_another_process_removes_meanwhile_is_not_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build lists the cache when it is done, while another process may empty it."""
    shards = build(tmp_path)
    other = tmp_path / "cache" / "files-0123456789abcdef"
    shutil.copytree(tmp_path / "cache" / shards.folder.name, other)
    check = cache._is_entry

    def removed_after(folder: Path) -> bool:
        found = check(folder)
        if folder == other:
            shutil.rmtree(other)
        return found

    monkeypatch.setattr(cache, "_is_entry", removed_after)
    assert [entry.folder.name for entry in entries(tmp_path / "cache")] == [shards.folder.name]
