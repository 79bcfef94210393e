"""Memory for decompressing a dump, by its header, and how many dumps are read at once."""

import bz2
import gzip
import lzma
import struct
from pathlib import Path

import pytest
import zstandard

from data_prep import links
from data_prep.reddit.memory import PROCESS_BYTES, scan_memory
from webtext_gpt.errors import UserError

GB = 1 << 30
ROW = b'{"url":"http://example.com/","score":9,"created_utc":1,"id":"a"}\n'


def window(path: Path, log: int, before: bytes = b"") -> Path:
    """Write a zstd frame whose header states a window of 2^log bytes (RFC 8878, 3.1.1.1.2)."""
    header = b"\x28\xb5\x2f\xfd" + bytes([0, (log - 10) << 3])
    block = struct.pack("<I", len(ROW) << 3 | 1)[:3] + ROW  # the last block, stored raw
    path.write_bytes(before + header + block)
    return path


@pytest.mark.parametrize("log", [20, 27, 31])
def test_a_window_is_read_from_the_header(tmp_path: Path, log: int) -> None:
    path = window(tmp_path / "RS.zst", log)
    assert zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj().decompress(
        path.read_bytes()
    ) == ROW  # fmt: skip
    assert scan_memory(path) == PROCESS_BYTES + (1 << log)
    skipped = b"\x50\x2a\x4d\x18" + struct.pack("<I", 9000) + bytes(9000)
    assert scan_memory(window(tmp_path / "RS.zst", log, skipped * 2)) == PROCESS_BYTES + (1 << log)


def test_small_content_needs_no_window(tmp_path: Path) -> None:
    path = tmp_path / "RS.zst"
    path.write_bytes(zstandard.compress(ROW))
    assert scan_memory(path) == PROCESS_BYTES + len(ROW)


def test_a_window_that_zstd_refuses_is_named(tmp_path: Path) -> None:
    path = window(tmp_path / "RS.zst", 32)
    with pytest.raises(UserError, match=r"RS\.zst: compressed with a window of 4,294,967,296"):
        links.build_links([str(path)], tmp_path / "out", links.rules_of([]))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("preset", "dictionary"), [(0, 1 << 18), (6, 1 << 23), (9, 1 << 26)])
def test_the_dictionary_of_xz_is_found(tmp_path: Path, preset: int, dictionary: int) -> None:
    """The sizes are those of the manual of xz."""
    path = tmp_path / "RS.xz"
    path.write_bytes(lzma.compress(ROW, preset=preset))
    assert dictionary <= scan_memory(path) - PROCESS_BYTES <= dictionary + (2 << 20)


def test_other_kinds_need_little(tmp_path: Path) -> None:
    for name, packed in (("a.bz2", bz2.compress(ROW)), ("a.gz", gzip.compress(ROW)), ("a", ROW)):
        (tmp_path / name).write_bytes(packed)
        assert PROCESS_BYTES <= scan_memory(tmp_path / name) < PROCESS_BYTES + (8 << 20)


@pytest.mark.parametrize(
    ("available", "wanted", "expected", "message"),
    [
        (20 * GB, 4, 4, ""),
        (6 * GB, 4, 2, "links: 2 dumps at once, not 4: a dump needs up to 2.5 GB"),
        (6 * GB, 2, 2, ""),
        (1 * GB, 4, 1, "links: warning: a dump needs up to 2.5 GB of memory, and 1.1 GB are"),
        (None, 3, 3, ""),
    ],
)
def test_memory_bounds_the_processes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    available: int | None,
    wanted: int,
    expected: int,
    message: str,
) -> None:
    """A dump with a window of 2^31 bytes needs 2.5 GB: the window and 0.37 GB."""
    names = []
    for number in range(4):
        path = window(tmp_path / f"RS_{number}.zst", 31)
        path.write_bytes(path.read_bytes().replace(b'"a"', b'"%d"' % number))
        names.append(str(path))
    monkeypatch.setattr(links, "available_memory", lambda: available)
    seen = []
    monkeypatch.setattr(
        links.Ledger, "run_files",
        lambda self, work, files, *, label, workers, engine, memory: (
            seen.append(workers) or links.Records()),
    )  # fmt: skip
    monkeypatch.setattr(links, "_merge", lambda ledger, scans, rules, workers, engine: setattr(
        ledger, "_manifest", {"cut_short": []}))  # fmt: skip
    links.build_links(names, tmp_path / "out", links.rules_of([]), workers_at_once=wanted)
    assert seen == [expected]
    assert message in capsys.readouterr().out


def test_the_published_windows_are_found(realdata: Path) -> None:
    path = realdata / "reddit/submissions_2013_sample.ndjson.zst"
    assert scan_memory(path) == PROCESS_BYTES + (1 << 31)
