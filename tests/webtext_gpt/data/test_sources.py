"""Text sources: formats, order, fingerprints, and unreadable input."""

import gzip
import json
import unicodedata
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from webtext_gpt.data.left_out import left_out_lines
from webtext_gpt.data.sources import Files, Hub
from webtext_gpt.errors import UserError


def _files(path: Path | str | list[str], **options: str) -> Files:
    return Files(path if isinstance(path, list) else str(path), val_fraction=0.1, **options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.txt").write_bytes(b"second\r\ntext")
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n\n{"text": "two", "id": 2}\n')
    table = pyarrow.table({"text": ["three", "four"], "n": [1, 2]})
    pyarrow.parquet.write_table(table, tmp_path / "sub" / "c.parquet")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    return tmp_path


def test_a_folder_is_read_in_the_order_of_names(folder: Path) -> None:
    assert list(_files(folder).documents()) == ["one", "two", "second\ntext", "three", "four"]


def test_globs_lists_and_single_files(folder: Path) -> None:
    assert list(_files(f"{folder}/*.txt").documents()) == ["second\ntext"]
    assert list(_files(f"{folder}/**/*.parquet").documents()) == ["three", "four"]
    listed = [str(folder / "b.txt"), str(folder / "a.jsonl"), str(folder / "b.txt")]
    assert list(_files(listed).documents()) == ["one", "two", "second\ntext"]


def test_the_order_does_not_depend_on_the_spelling_of_paths(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    names = ["b.txt", str(folder / "a.jsonl"), "sub/c.parquet"]
    expected = ["one", "two", "second\ntext", "three", "four"]
    assert list(_files(names).documents()) == expected
    assert list(_files([str(folder / name) for name in names]).documents()) == expected


def test_the_fingerprint_follows_the_content(folder: Path) -> None:
    before = _files(folder).fingerprint()
    assert _files(folder).fingerprint() == before
    (folder / "b.txt").write_bytes(b"other\r\ntext.")
    assert _files(folder).fingerprint() != before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.txt", b"", "empty.txt is empty"),
        ("latin.txt", b"caf\xe9", "latin.txt is not UTF-8: byte 0xe9 at position 3"),
        ("a.jsonl", b'{"text": "\xff"}\n', r"a.jsonl: none .* line 1 is not JSON: 'utf-8'"),
        ("a.jsonl", b'\n{"text"\n', "a.jsonl: none .* line 2 is not JSON"),
        (
            "a.jsonl",
            b'{"body": "x"}\n',
            "line 1 has no key 'text'; its keys are 'body'; set data.text_key",
        ),
        ("a.jsonl", b'{"text": 3}\n', "line 1: 'text' is int, not text"),
        ("a.parquet", b"PAR0", "a.parquet: not a readable Parquet file"),
    ],
)
def test_unreadable_input_is_located(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        list(_files(tmp_path / name).documents())


def test_a_missing_column_lists_those_present(folder: Path) -> None:
    with pytest.raises(UserError, match="c.parquet: no column 'body' among text, n; set data.t"):
        list(_files(folder / "sub", text_key="body").documents())


def test_a_path_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere does not exist"):
        _files(tmp_path / "nowhere")
    with pytest.raises(UserError, match="a folder without text"):
        _files(tmp_path)


def test_a_hub_dataset_from_local_files(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": t, "n": 1}) + "\n" for t in ("one", "two")))
    source = Hub("json", val_fraction=0.1, data_files=str(rows))
    assert list(source.documents()) == ["one", "two"]
    rows.write_text('{"text": null, "n": 1}\n{"text": "two", "n": 1}\n')
    source = Hub("json", val_fraction=0.1, data_files=str(rows))
    assert list(source.documents()) == ["two"]
    assert source.left_out == {"rows": 2, "rejected": {"no text": 1}}
    with pytest.raises(UserError, match="'n': row 0 is int, not text"):
        list(Hub("json", val_fraction=0.1, data_files=str(rows), text_key="n").documents())
    with pytest.raises(UserError, match="no column 'body', only text, n"):
        Hub("json", val_fraction=0.1, data_files=str(rows), text_key="body")
    with pytest.raises(UserError, match="cannot be loaded"):
        Hub(str(tmp_path / "none"), val_fraction=0.1)


def test_the_ending_of_a_file_that_is_named_decides(tmp_path: Path) -> None:
    for name in ("wiki.raw", "wiki.valid.tokens", "text8"):
        (tmp_path / name).write_text("text")
        assert list(_files(tmp_path / name).documents()) == ["text"]
    (tmp_path / "wiki.txt.gz").write_bytes(gzip.compress(b"text", mtime=0))
    assert list(_files(tmp_path / "wiki.txt.gz").documents()) == ["text"]
    for name in ("a.csv", "b.json", "rows"):
        (tmp_path / name).write_text('{"text": "a"}')
    with pytest.raises(UserError, match=r"a.csv: the ending is none of .parquet, .*\.tokens"):
        _files(tmp_path / "a.csv")
    with pytest.raises(UserError, match=r"b.json: the ending .* rename it .jsonl"):
        _files(tmp_path / "b.json")
    with pytest.raises(UserError, match="rows looks like JSON, but its name has no ending"):
        _files(tmp_path / "rows")
    with pytest.raises(UserError, match=r"data.path=.*/\*.csv matches no text, .* only .*a.csv"):
        _files(tmp_path / "*.csv")


def test_files_with_other_endings_are_listed(folder: Path) -> None:
    (folder / "README").write_text("read me")
    for given in (folder, folder / "*"):
        source = _files(given)
        assert "read me" not in list(source.documents())
        assert source.left_out == {"other_files": ["README", "picture.png"]}


def test_a_line_that_is_bad_costs_no_other(tmp_path: Path) -> None:
    lines = [b'{"text": "one"}', b'{"text": "\xff"}', b'{"text"', b'{"text": null}', b"[1]"]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([*lines, b'{"text": "two"}']))
    source = _files(tmp_path / "a.jsonl")
    assert list(source.documents()) == ["one", "two"]
    assert source.left_out == {"rows": 6, "rejected": {"malformed row": 3, "no text": 1}}
    said = ["3 of 6 rows were malformed", "1 of 6 rows had no text"]
    assert left_out_lines(source.left_out) == said


AWKWARD = (
    *("a b", "a=b", "a,b", "[a]", "{b}", "it's", 'say "x"', "$HOME", "100%d", "~", "-dash", "a#b"),
    *("caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9"), "\U0001f600", "a&b", "a;b", "x*y"),
    *("line\nbreak", "end ", " start", "back\\slash", "*", "?", "\udcff"),
)


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_names_are_read_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    (tmp_path / name / f"{name}.txt").write_text("inside")
    (tmp_path / f"{name}.txt").write_text("text")
    (tmp_path / f"{name}.jsonl").write_text('{"text": "row"}\n')
    (tmp_path / "a.txt").write_text("another")
    assert list(_files(f"{name}.txt").documents()) == ["text"]
    assert list(_files(f"{name}.jsonl").documents()) == ["row"]
    assert list(_files([name]).documents()) == ["inside"]
    assert list(_files(tmp_path / name / "*.txt").documents()) == ["inside"]
    assert sorted(_files(".").documents()) == ["another", "inside", "row", "text"]
    json.dumps(_files(f"{name}.txt").fingerprint()).encode()  # the key of the cache


def test_hidden_files_and_repeats_are_left_out(folder: Path) -> None:
    expected = list(_files(folder).documents())
    (folder / ".ipynb_checkpoints").mkdir()
    for name in (".hidden.txt", ".ipynb_checkpoints/b.txt"):
        (folder / name).write_text("hidden")
    (folder / "link.txt").symlink_to("b.txt")
    (folder / "loop").symlink_to(".")
    (folder / "sub" / "up").symlink_to("..")
    source = _files(folder)
    assert list(source.documents()) == expected
    assert [name for name, _ in source.fingerprint()["files"]] == ["a.jsonl", "b.txt", "c.parquet"]
    assert list(_files(folder / ".hidden.txt").documents()) == ["hidden"]


@pytest.mark.parametrize("path", ["", [], [""]])
def test_an_empty_path_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str | list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(UserError, match="data.path=? is empty; name a file or folder"):
        Files(path, val_fraction=0.1)


def test_a_folder_of_shards_is_refused(tmp_path: Path) -> None:
    for name in ("manifest.json", "tokens-00000.bin"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(UserError, match="token shards, not of texts; read it with data=shards"):
        _files(tmp_path)


@pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".parquet"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            gzip.compress(b"text", mtime=0),
            "compressed with gzip, not .*; decompress it first: gunzip",
        ),
        (b"\x89PNG\r\n\x1a\n\0", "a PNG image, not"),
        ("text".encode("utf-16"), "in UTF-16, not .*; convert it to UTF-8: iconv"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n",
            "a Git LFS pointer, not .*: run git lfs pull",
        ),
    ],
)
def test_a_file_of_another_kind_is_named(
    tmp_path: Path, suffix: str, content: bytes, message: str
) -> None:
    file = tmp_path / f"a{suffix}"
    file.write_bytes(content)
    with pytest.raises(UserError, match=f"a{suffix} is {message}"):
        list(_files(file).documents())
