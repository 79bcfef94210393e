"""Delimited files: quotes, line ends, encodings, headers, and rows that do not fit."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from webtext_gpt.data.rows import MissingColumnError
from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.data.delimited import LARGEST_CELL, read_delimited

Read = Callable[..., list[tuple[str, dict[str, Any]]]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """`read(name, content, columns, **options)`: rows with the line number as their place."""

    def _read(
        name: str, content: bytes, columns: tuple[str, ...] = ("text", "label"), **options: Any
    ) -> list[tuple[str, dict[str, Any]]]:
        file = tmp_path / name
        file.write_bytes(content)
        start = f"{file}, line "
        rows = list(read_delimited(file, columns, **options))
        assert all(place.startswith(start) for place, _ in rows)
        return [(place.removeprefix(start), row) for place, row in rows]

    return _read


def test_csv_cells_hold_separators_quotes_and_line_ends(read: Read) -> None:
    content = b'text,label\n"a, ""b""\nc",x\n\nplain 5" disk,y\n"",z\n'
    assert read("a.csv", content) == [
        ("2", {"text": 'a, "b"\nc', "label": "x"}),
        ("5", {"text": 'plain 5" disk', "label": "y"}),
        ("6", {"text": "", "label": "z"}),
    ]


@pytest.mark.parametrize("separator", [",", "\t", ";", " "])
def test_lines_of_white_space_are_blank_if_there_are_several_columns(
    read: Read, separator: str
) -> None:
    lines = " |text?label|x?1| \xa0|y?0|  |".replace("|", "\n").replace("?", separator)
    rows = read("a.txt", lines.encode(), separator=separator)
    assert [(place, row["text"]) for place, row in rows] == [("3", "x"), ("5", "y")]
    headerless = lines.partition("label\n")[2].encode()
    rows = read("a.txt", headerless, separator=separator, names=("text", "label"))
    assert [place for place, _ in rows] == ["1", "3"]
    rows = read("a.csv", b"text\nx\n  \ny\n", columns=("text",))
    assert [row["text"] for _, row in rows] == ["x", "  ", "y"]


def test_rows_written_by_the_csv_module_are_read_back(tmp_path: Path) -> None:
    texts = ["", " ", '"', '""', ",", "a\nb", "\n\n", "'", "\u2028 \x85 \x0b", "\t", '","', "é😀"]
    with (tmp_path / "a.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerows([["text", "label"], *([text, "x"] for text in texts)])
    rows = read_delimited(tmp_path / "a.csv", ["text"])
    assert [row["text"] for _, row in rows] == texts


def test_a_quote_in_tsv_is_text(read: Read) -> None:
    content = b'text\tlabel\n"open\t1\nhe said "no"\t0\n"all"\t1\n'
    texts = [row["text"] for _, row in read("a.tsv", content)]
    assert texts == ['"open', 'he said "no"', '"all"']


def test_tsv_can_have_quotes(read: Read) -> None:
    content = b'text\tlabel\n"a\tb\nc"\t1\nd\t2\n'
    assert read("a.tsv", content, quotes=True) == [
        ("2", {"text": "a\tb\nc", "label": "1"}),
        ("4", {"text": "d", "label": "2"}),
    ]


def test_csv_without_quotes(read: Read) -> None:
    rows = read("a.csv", b'text,label\n"open,1\n', quotes=False)
    assert rows == [("2", {"text": '"open', "label": "1"})]


@pytest.mark.parametrize(("separator", "name"), [(";", "a.csv"), ("|", "a.txt"), ("\t", "a.csv")])
def test_other_separators(read: Read, separator: str, name: str) -> None:
    content = f"text{separator}label\na, b{separator}1\n".encode()
    assert read(name, content, separator=separator) == [("2", {"text": "a, b", "label": "1"})]


def test_cells_between_semicolons_may_be_quoted(read: Read) -> None:
    rows = read("a.csv", b'text;label\n"a;b";1\n', separator=";")
    assert rows == [("2", {"text": "a;b", "label": "1"})]


def test_after_spaces_the_last_column_takes_the_rest(read: Read) -> None:
    content = b"NUM:dist How far  is it ?\nHUM:desc Who ?\n"
    assert read("TREC.train", content, separator=" ", names=("label", "text")) == [
        ("1", {"label": "NUM:dist", "text": "How far  is it ?"}),
        ("2", {"label": "HUM:desc", "text": "Who ?"}),
    ]


def test_a_text_that_contains_a_column_name_is_not_a_header(read: Read) -> None:
    content = b"DESC What is the text ?\nHUM Who ?\n"
    rows = read("a.txt", content, ("text",), separator=" ", names=("label", "text"))
    assert [row["text"] for _, row in rows] == ["What is the text ?", "Who ?"]
    rows = read("a.txt", content, ("text",), separator=" ", names=("text",))
    assert [row["text"] for _, row in rows] == ["DESC What is the text ?", "HUM Who ?"]
    content = b"label text\nDESC What is it ?\n"
    assert read("a.txt", content, separator=" ") == [
        ("2", {"label": "DESC", "text": "What is it ?"})
    ]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_windows_line_ends_and_byte_order_mark(read: Read, name: str) -> None:
    separator = "," if name == "a.csv" else "\t"
    content = f"\ufefftext{separator}label\r\na{separator}1\r\n\r\nb{separator}2".encode()
    for encoding in ("utf-8", "latin-1"):
        assert read(name, content, encoding=encoding) == [
            ("2", {"text": "a", "label": "1"}),
            ("4", {"text": "b", "label": "2"}),
        ]
    if name == "a.csv":
        assert read(name, b'text,label\r\n"a\r\nb",1\r\n') == [
            ("2", {"text": "a\nb", "label": "1"})
        ]


def test_a_header_in_any_order_and_with_more_columns(read: Read) -> None:
    rows = read("a.csv", b"id, label ,,text\n7,x,?,a\n", names=("text", "label"))
    assert rows == [("2", {"id": "7", "label": "x", "": "?", "text": "a"})]


def test_a_file_without_header_begins_with_data(read: Read) -> None:
    content = b"gj04\t1\t\tIt works.\ngj04\t0\t*\tIt work.\n"
    names = ("source", "label", "mark", "text")
    assert read("a.tsv", content, names=names) == [
        ("1", {"source": "gj04", "label": "1", "mark": "", "text": "It works."}),
        ("2", {"source": "gj04", "label": "0", "mark": "*", "text": "It work."}),
    ]


@pytest.mark.parametrize(
    ("separator", "lines", "names"),
    [
        (" ", b"How far is it ?\nWho ?\n", ("label", "text")),
        ("\t", b"How far is it ?\nWho ?\n", ("label", "text")),
        ("\t", b"How far is it ?\tx\nWho ?\ty\n", ("text", "label")),
        ("\t", b"7\tHow far is it ?\n8\tWho ?\n", ("number", "label", "text")),
        (",", b"7,x,How far is it ?\n8,y,Who ?\n", ("number", "label", "text")),
        (" ", b"text\nHow far is it ?\nWho ?\n", ("label", "text")),
    ],
)
def test_a_file_without_header_may_lack_the_optional_column(
    read: Read, separator: str, lines: bytes, names: tuple[str, ...]
) -> None:
    options: dict[str, Any] = {"separator": separator, "names": names, "optional": "label"}
    rows = read("a.txt", lines, ("text",), **options)
    assert [row["text"] for _, row in rows] == ["How far is it ?", "Who ?"]


def test_the_first_row_decides_whether_a_column_is_missing(read: Read) -> None:
    options: dict[str, Any] = {"names": ("text", "label"), "optional": "label"}
    with pytest.raises(UserError, match=r"line 2 \(row 2\) has 2 cells, but 1 are? expected"):
        read("a.csv", b"a\nb,1\n", ("text",), **options)
    with pytest.raises(UserError, match=r"line 2 \(row 2\) has 1 cell, but 2 are expected"):
        read("a.csv", b"b,1\na\n", ("text",), **options)


def test_excels_first_line_names_the_separator(read: Read) -> None:
    for start in (b"sep=;\n", b"\xef\xbb\xbfSEP=;\r\n"):
        rows = read("a.csv", start + b'text;label\n"a;\nb";1\nc,d;2\n')
        assert rows == [
            ("3", {"text": "a;\nb", "label": "1"}),
            ("5", {"text": "c,d", "label": "2"}),
        ]
    rows = read("a.csv", b"sep=\t\na\t1\n\nb\t2\n", names=("text", "label"))
    assert rows == [("2", {"text": "a", "label": "1"}), ("4", {"text": "b", "label": "2"})]


@pytest.mark.parametrize(
    ("header", "word"), [("text;label", "semicolon"), ("text\tlabel", "tab"), ("a|b|c", "pipe")]
)
def test_a_header_with_another_separator_names_it(read: Read, header: str, word: str) -> None:
    with pytest.raises(MissingColumnError, match=f"set task.separator={word}$"):
        read("a.csv", f"{header}\n".encode())


@pytest.mark.parametrize("names", [None, ("text", "label")])
def test_a_header_in_another_case_is_not_a_row(read: Read, names: tuple[str, ...] | None) -> None:
    message = "no column 'text', 'label'; did you mean 'Text' and 'LABEL'"
    with pytest.raises(MissingColumnError, match=message):
        read("a.csv", b"Text, LABEL\na,1\n", names=names)


@pytest.mark.parametrize(
    ("content", "names", "message"),
    [
        (
            b"a film,1\nb,0\n",
            None,
            "line 1 has no column 'text', 'label'; its columns are 'a film', '1'$",
        ),
        (b"sentence,label\na,1\n", None, "no column 'text'; its columns are 'sentence', 'label'"),
        (b"a,1\n", ("body", "label"), r"task.columns=\[body,label\] has no column 'text'"),
        (b"x" * 60 + b",1\n", None, r"its columns are 'x{40}\.\.\.', '1'$"),
    ],
)
def test_missing_columns(
    read: Read, content: bytes, names: tuple[str, ...] | None, message: str
) -> None:
    with pytest.raises(MissingColumnError, match=message):
        read("a.csv", content, names=names)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"text,label\na,1\nb\n", r"line 3 \(row 2\) has 1 cell, but 2 .*text, label"),
        (
            "a.csv",
            b"text,label\na,b,1\n",
            r"line 2 \(row 1\) has 3 cells, but 2 .*try task.quotes=false, .* than ',' or",
        ),
        (
            "a.tsv",
            b'text\tlabel\n"a\tb"\t1\n',
            r"line 2 \(row 1\) has 3.*try task.quotes=true, .* than '\\t' or",
        ),
        ("a.csv", b'text,label\n"a\n\nb",1\nc\n', r"line 5 \(row 2\) has 1 cell"),
        ("a.csv", b"text,label,label\na,1,2\n", "line 1: 2 columns are named 'label'"),
        ("a.csv", b"", "a.csv is empty"),
        ("a.csv", b'text,label\na,1\n"b,2\nc,3\n', "begins in line 3 .*task.quotes=false"),
        ("a.csv", b'text,label\n"a" b,1\n', "begins in line 2 .*task.quotes=false"),
        ("a.csv", b"text,label\na\rb,1\n", "begins in line 2 .* a carriage return outside quotes"),
        ("a.csv", b"text,label\na,1\nb\0,2\n", "line 3 holds a NUL byte"),
        ("a.tsv", b"text\tlabel\ncaf\xe9\t1\n", "line 2 is not utf-8: byte 0xe9;.*=latin-1"),
        ("a.csv", b'text,label\n"a\nb\xff",1\n', "line 3 is not utf-8: byte 0xff"),
        (
            "a.csv",
            "text,label\na,1\n".encode("utf-16-be"),
            "is in UTF-16BE, not utf-8; set task.encoding=utf-16",
        ),
    ],
)
def test_bad_files_are_located(read: Read, name: str, content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(name, content)


@pytest.mark.parametrize("encoding", ["cp037", "nonsense", "hex"])
def test_encodings_that_cannot_be_read(read: Read, encoding: str) -> None:
    with pytest.raises(UserError, match=f"task.encoding={encoding}"):
        read("a.csv", b"text,label\na,1\n", encoding=encoding)


@pytest.mark.parametrize("separator", ["", ", ", '"', "\n"])
def test_separators_that_cannot_separate(read: Read, separator: str) -> None:
    with pytest.raises(UserError, match="task.separator="):
        read("a.csv", b"text,label\na,1\n", separator=separator)


def test_latin_1(read: Read) -> None:
    rows = read("a.tsv", b"text\tlabel\ncaf\xe9\t1\n", encoding="latin-1")
    assert rows == [("2", {"text": "café", "label": "1"})]


def test_a_long_cell_is_read_and_an_endless_one_is_not(read: Read) -> None:
    before = csv.field_size_limit()
    long = b"x" * (before + 1)  # more than the csv module's own limit
    assert read("a.csv", b"text,label\n" + long + b",1\n")[0][1]["text"] == long.decode()
    with pytest.raises(UserError, match="begins in line 2 .*limit"):
        read("a.csv", b'text,label\n"' + (b"x" * 2**20 + b"\n") * (LARGEST_CELL // 2**20))
    assert csv.field_size_limit() == before


def test_rows_are_yielded_while_the_file_is_read(tmp_path: Path) -> None:
    for name, separator in (("a.csv", b","), ("a.tsv", b"\t")):
        row = b"text" + separator + b"label\n"
        (tmp_path / name).write_bytes(row + row * 100_000 + b"ragged\n")
        rows = read_delimited(tmp_path / name, ["text"])
        assert next(iter(rows))[1] == {"text": "text", "label": "label"}


@pytest.mark.parametrize(  # lines counted by awk
    ("name", "rows"),
    [("in_domain_train.tsv", 8551), ("in_domain_dev.tsv", 527), ("out_of_domain_dev.tsv", 516)],
)
def test_cola_is_read_as_its_authors_publish_it(realdata: Path, name: str, rows: int) -> None:
    names = ("source", "label", "mark", "sentence")
    file = realdata / "classification" / "cola" / name
    found = [row for _, row in read_delimited(file, ["sentence", "label"], names=names)]
    assert len(found) == rows
    assert {row["label"] for row in found} == {"0", "1"}
