"""Bytes that are not in the encoding: what they point to, advice that works, and U+FFFD."""

import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from webtext_gpt.data.diagnosis import diagnose
from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.data.examples import iter_texts, read_file
from webtext_gpt.finetuning.data.task import Task

CURLY = "\u201cquoted\u201d it\u2019s \u2013 5 \u20ac"


def _file(folder: Path, content: bytes, name: str = "a.csv") -> Path:
    file = folder / name
    file.write_bytes(content)
    return file


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("caf\xe9".encode("latin-1"), "latin-1"),
        (CURLY.encode("cp1252"), "cp1252"),
        (b"it\x92s 10\xb0", "cp1252"),
        ("naïve café ”".encode()[:-1], "damaged UTF-8"),
        ("é ü ß".encode() + b" \xe9", "damaged UTF-8"),
        ("Привет, мир, снова и снова".encode("koi8-r") + b"\x81", "unknown"),
        ("plain é".encode(), "UTF-8"),
    ],
)
def test_bytes_tell_the_encoding(content: bytes, found: str) -> None:
    assert diagnose([b"plain\n", content]) == found


def test_cp1252_is_advised_and_the_advice_works(cases: Path) -> None:
    file = cases / "finetuning" / "cp1252.csv"
    for read in (read_file, lambda task, path: list(iter_texts(task, path))):
        with pytest.raises(UserError, match="line 2 is not utf-8: byte 0x93;") as caught:
            read(Task(name="mine"), file)
        advised = re.search(r"task\.encoding=([\w-]+)", str(caught.value))
        assert advised is not None
        assert advised[1] == "cp1252"
    found = read_file(Task(name="mine", encoding=advised[1]), file)
    lines = file.read_bytes().decode("cp1252").splitlines()[1:]  # no cell is quoted
    assert found.texts == [line.rpartition(",")[0] for line in lines]
    assert CURLY in found.texts


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_damaged_utf_8_is_not_called_another_encoding(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start, row = ("text,label\n", "{},1\n")
    if name == "a.jsonl":
        start, row = "\n", '{{"text": "{}", "label": 1}}\n'
    good = (start + "".join(row.format(text) for text in ("über", "naïve \ufffd", "”"))).encode()
    bad = row.format("?c?").encode().replace(b"?", b"\xe2\x80", 1).replace(b"?", b"\xff")
    file = _file(tmp_path, good + bad, name)
    message = "line 5 is not (utf|UTF)-8: byte 0xe2.*damaged.*task.on_error=replace"
    with pytest.raises(UserError, match=message) as caught:
        read_file(Task(name="mine"), file)
    assert "cp1252" not in str(caught.value).lower().replace("-", "")
    task = Task(name="mine", on_error="replace")
    assert read_file(task, file).texts == ["über", "naïve \ufffd", "”", "\ufffdc\ufffd"]
    remark = f"{name}: bytes that are not in its encoding, read as U+FFFD: 2, the first in"
    assert remark in capsys.readouterr().out
    assert [row.text for row in iter_texts(task, file)][-1] == "\ufffdc\ufffd"
    assert remark in capsys.readouterr().out


def test_bad_text_in_parquet_is_located_and_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = pa.array([b"a", b"caf\xe9 \xff", None], pa.binary()).cast(pa.string(), safe=False)
    file = tmp_path / "a.parquet"
    pa.parquet.write_table(pa.table({"text": texts, "label": [1, 2, 3]}), file)
    with pytest.raises(UserError, match="row 1: 'text' is not UTF-8: byte 0xe9.*on_error=replace"):
        read_file(Task(name="mine", skip_empty=True), file)
    task = Task(name="mine", skip_empty=True, on_error="replace")
    assert read_file(task, file).texts == ["a", "caf\ufffd \ufffd"]
    assert "U+FFFD: 2, the first in" in capsys.readouterr().out


def test_a_file_of_carriage_returns_is_read(tmp_path: Path) -> None:
    for content in (b"text,label\ra,1\r\rb,2\r", b"text,label\ra,1\r\rb,2"):
        found = read_file(Task(name="mine"), _file(tmp_path, content))
        assert (found.texts, found.labels) == (["a", "b"], ["1", "2"])
        assert found.places[1].endswith("line 4")


@pytest.mark.parametrize(
    ("content", "encoding", "message"),
    [
        ("text,label\na,1\n".encode("utf-16-le"), "utf-8", "is in UTF-16LE.*task.encoding=utf-16$"),
        (b"text,label\na,1\n", "utf-16", "a.csv is not utf-16: it has neither"),
        ("text,label\n”,1\n".encode(), "cp1252", "the file is UTF-8: set task.encoding=utf-8"),
        (b"text,label\n\x81\x93,1\n", "utf-8", "set its encoding, such as task.encoding=gb18030"),
        (b"text,label\n\x81\x93,1\n", "cp1252", "set its encoding, such as task.encoding=gb18030"),
        ("text,label\na,1\n".encode("utf-16") + b"\0", "utf-8", "line 3 is not utf-16-le.*damaged"),
        (b"\xef\xbb\xbftext,label\n\x93,1\n", "cp1252", "line 2 is not utf-8: byte 0x93"),
        (b"\x1f\x8b" + b"\0" * 20, "utf-8", "compressed with gzip, .*gunzip"),
    ],
)
def test_files_in_another_encoding_are_refused(
    content: bytes, encoding: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        read_file(Task(name="mine", encoding=encoding), _file(tmp_path, content))


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "cp1251"])
def test_utf_8_that_is_read_in_another_encoding_is_remarked_on(
    encoding: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = Task(name="mine", encoding=encoding)
    file = _file(tmp_path, "text,label\na,1\ncafé,1\nnaïve,0\n".encode() + b"\xe9,1\n")
    remark = f"look like UTF-8 but were read with task.encoding={encoding}; "
    read_file(task, file)
    said = capsys.readouterr().out
    assert remark in said
    assert f"2, the first in {file}, line 3" in said
    list(iter_texts(task, file))
    assert remark in capsys.readouterr().out
    for content in (b"text,label\na,1\n", b"text,label\n\xe9,1\n\xc3\xa9,1\n"):
        read_file(task, _file(tmp_path, content))
        assert "UTF-8" not in capsys.readouterr().out


def test_extra_cells_are_refused_with_the_key_or_dropped(
    cases: Path, capsys: pytest.CaptureFixture[str], write: Callable[..., str]
) -> None:
    columns = {"text": "sentence1", "text_pair": "sentence2", "label": "score"}
    file = cases / "finetuning" / "extra_cells.tsv"
    message = r"line 5 \(row 4\) has 6 cells, but 4 are expected.*task.extra_cells=drop"
    with pytest.raises(UserError, match=message):
        read_file(Task(name="mine", kind="regression", **columns), file)
    task = Task(name="mine", kind="regression", extra_cells="drop", **columns)
    lines = [line.split("\t") for line in file.read_text().splitlines()[1:]]
    found = read_file(task, file)
    assert found.labels == [float(cells[1]) for cells in lines]
    assert found.seconds == [cells[3] for cells in lines]
    many = sum(len(cells) > 4 for cells in lines)
    assert f"which were dropped: {many}, the first in {file}, line 5" in capsys.readouterr().out
    short = write("a.csv", "text,label\na,1,,\nb\n")
    with pytest.raises(UserError, match=r"line 3 \(row 2\) has 1 cell, but 2 (?!.*extra_cells)"):
        read_file(Task(name="mine", extra_cells="drop"), short)
