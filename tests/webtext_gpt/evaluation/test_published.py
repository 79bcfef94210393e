"""Published files: gzipped, in a zip archive, damaged, and with the marks of other systems."""

import gzip
import zipfile
from pathlib import Path

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.published import published_bytes, published_lines, published_text

TEXT = "the caf\u00e9\u2028is open\nand the cat\n" * 300


def test_a_file_is_read_plain_gzipped_and_zipped(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(TEXT.encode()))
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data/a.train.txt", "other")
        archive.writestr("data/a.txt", TEXT)
    assert published_text(tmp_path / "a.txt") == TEXT
    assert published_text(tmp_path / "a.txt.gz") == TEXT
    assert published_text(tmp_path / "all.zip", ("a.raw", "a.txt")) == TEXT
    with pytest.raises(UserError, match=r"all\.zip contains none of b\.txt"):
        published_bytes(tmp_path / "all.zip", ("b.txt",))


def test_marks_of_other_systems_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\n  \r\ntwo\x0bthree\r\n")
    assert published_text(tmp_path / "a.txt") == "one\n  \ntwo\x0bthree\n"
    assert list(published_lines(tmp_path / "a.txt")) == [(1, "one"), (3, "two\x0bthree")]


@pytest.mark.parametrize("name", ["a.gz", "a.zip"])
def test_a_file_cut_short_is_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", TEXT)
    (tmp_path / "a.gz").write_bytes(gzip.compress(TEXT.encode()))
    data = (tmp_path / name).read_bytes()
    for part in (data[: len(data) // 2], b""):
        (tmp_path / name).write_bytes(part)
        if part or name == "a.zip":
            with pytest.raises(UserError, match=rf"{name} is damaged .*; download it again"):
                published_bytes(tmp_path / name, ("a",))
    (tmp_path / name).write_bytes(b"<html>not found</html>")
    with pytest.raises(UserError, match=rf"{name} is damaged"):
        published_bytes(tmp_path / name, ("a",))


def test_damage_inside_an_archive_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a", "x" * 100)
    data = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(data.replace(b"x" * 100, b"x" * 99 + b"y"))
    with pytest.raises(UserError, match=r"a\.zip is damaged \(Bad CRC-32"):
        published_bytes(tmp_path / "a.zip", ("a",))


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(gzip.compress(b"text"))
    with pytest.raises(UserError, match=r"a\.txt is compressed with gzip, not text"):
        published_text(tmp_path / "a.txt")
