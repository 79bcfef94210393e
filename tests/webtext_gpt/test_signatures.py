"""Files of other kinds are recognized by their first bytes; texts are not."""

import bz2
import gzip
import io
import lzma
import sqlite3
import tarfile
import zipfile
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from webtext_gpt.errors import UserError
from webtext_gpt.files import read_text
from webtext_gpt.signatures import kind_of, why_unreadable

TEXT = b"The quick brown fox jumps over the lazy dog.\n" * 9
POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


def _workbook() -> bytes:
    """An Office document begins with the list of its parts."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return stream.getvalue()


def _zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.txt", TEXT)
    return stream.getvalue()


def _tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        entry = tarfile.TarInfo("a.txt")
        entry.size = len(TEXT)
        archive.addfile(entry, io.BytesIO(TEXT))
    return stream.getvalue()


def _parquet() -> bytes:
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a"]}), stream, compression="none")
    return stream.getvalue()


def _sqlite() -> bytes:
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE t (a)")
    return database.serialize()


KINDS = {
    "compressed with gzip, not text; decompress it first: gunzip <": gzip.compress(TEXT),
    "compressed with zstd, not text; decompress it first: unzstd <": zstandard.compress(TEXT),
    "compressed with xz, not text; decompress it first: unxz <": lzma.compress(TEXT),
    "compressed with bzip2, not text; decompress it first: bunzip2 <": bz2.compress(TEXT),
    "an Excel workbook or another Office document, not text; save its table as CSV": _workbook(),
    "a zip archive, not text; unpack it first: unzip": _zip(),
    "a tar archive, not text; unpack it first: tar -xf": _tar(),
    "a PNG image, not text": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "a JPEG image, not text": b"\xff\xd8\xff\xe0\0\x10JFIF\0",
    "a PDF document, not text; extract its text first: pdftotext": b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n",
    "a Parquet file, not text; let its name end in .parquet": _parquet(),
    "an SQLite database, not text": _sqlite(),
    "in UTF-16, not text; convert it to UTF-8: iconv -f UTF-16 -t": TEXT.decode().encode("utf-16"),
    "in UTF-16LE, not text; convert it to": TEXT.decode().encode("utf-16-le"),
    "in UTF-16BE, not text; convert it to": TEXT.decode().encode("utf-16-be"),
    "in UTF-32, not text; convert it to": TEXT.decode().encode("utf-32"),
    "a Git LFS pointer, not text; the content was not downloaded: run git lfs pull": POINTER,
}


@pytest.mark.parametrize("message", KINDS)
def test_a_file_of_another_kind_is_named_with_what_to_do(tmp_path: Path, message: str) -> None:
    file = tmp_path / "it's [1].txt"
    file.write_bytes(KINDS[message])
    with pytest.raises(UserError) as caught:
        read_text(file)
    assert f"{file} is {message}" in str(caught.value)
    assert "iconv" not in str(caught.value) or " in UTF-" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        *("%PDF-1.4 is how such a file begins", "BZh9 is not compressed", "PAR1", "GIF89a", "PK"),
        *("SQLite format 3", "version https://git-lfs.github.com/spec/v1 is a pointer", "a\0b"),
        *("", "\ufeffmark", "x" * 4095 + "\u00e9"),
    ],
)
def test_a_text_is_a_text_whatever_letters_it_begins_with(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    assert read_text(tmp_path / "a.txt") == text.removeprefix("\ufeff")
    assert kind_of(text.encode()[:4096]) is None


def test_latin_text_is_still_told_by_its_byte(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    with pytest.raises(UserError, match=r"byte 0xe9 at position 3; convert it, .*iconv -f latin1"):
        read_text(tmp_path / "a.txt")


def test_why_a_file_holds_no_tensors(tmp_path: Path) -> None:
    whole = _zip()
    for content, reason in (
        (b"", "it is empty; copy or download it again"),
        (b"# Title\n", "it is a text file; a model is a run folder, a .ckpt file, or"),
        (POINTER, "it is a Git LFS pointer; the content was not downloaded: run git lfs pull"),
        (b"<!DOCTYPE html>\n<html><head>", "it is a web page; download the model again"),
        (whole[:-30], "it is cut short, since its end is missing"),
        (whole, None),
        (b"\x89PNG\r\n\x1a\n\0", "it is a PNG image"),
        (b"\x9d\0\x03", None),
    ):
        (tmp_path / "model.bin").write_bytes(content)
        found = why_unreadable(tmp_path / "model.bin")
        assert found == reason if reason is None else str(found).startswith(reason)
