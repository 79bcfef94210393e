"""Paths as given: literal names first, folders and patterns without repeats, refusals."""

import os
import unicodedata
from pathlib import Path

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.paths import (
    absence,
    check_output_file,
    check_output_folder,
    find_files,
    local_path,
    names_files,
)

AWKWARD = (
    *("a b", "a=b", "a,b", "[a]", "{b}", "it's", 'say "x"', "$HOME", "100%d", "~", "-dash", "~x"),
    *("caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9"), "\U0001f600", "a#b", "a&b", "a;b"),
    *(
        "line\nbreak",
        "end ",
        " start",
        "back\\slash",
        "*",
        "a?",
        "[!x]",
        "**",
        "(x)",
        "a:b",
        "null",
    ),
)
"""Names that a shell, Hydra or a glob would read otherwise."""


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)


def find(*given: str, recursive: bool = True) -> list[str]:
    def is_text(file: Path) -> bool:
        return file.suffix == ".txt"

    found = find_files(given, is_text, key="data.path", kinds="text files", recursive=recursive)
    return [str(path) for path in found]


@pytest.mark.parametrize("name", AWKWARD)
def test_a_name_that_exists_is_taken_literally(name: str) -> None:
    write("other", "b.txt", "a.txt", "ax", f"{name}.txt", f"{name}.jsonl", f"in {name}/x.txt")
    if name not in ("~", "**"):  # folders of the next line
        write(name)
        assert find(name) == [name]
    assert find(f"{name}.txt") == [f"{name}.txt"]
    assert find(f"{name}.jsonl") == [f"{name}.jsonl"]
    assert find(f"in {name}") == [f"in {name}/x.txt"]
    assert find(f"in {name}/*.txt") == [f"in {name}/x.txt"]
    assert find(f"{Path.cwd()}/in {name}/**") == [f"{Path.cwd()}/in {name}/x.txt"]


def test_a_tilde_is_the_home_folder_unless_it_is_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    write("home [1]/a.txt", "home [1]/b.txt", "home [1]/c/d.txt")
    monkeypatch.setenv("HOME", str(Path("home [1]").absolute()))
    home = Path.home()
    assert local_path("~/a.txt") == home / "a.txt"
    assert local_path("~") == home
    assert find("~/a.txt") == [str(home / "a.txt")]
    assert find("~/*.txt") == [str(home / "a.txt"), str(home / "b.txt")]
    write("~/a.txt")
    assert find("~/a.txt") == ["~/a.txt"]
    assert local_path("~no_such_user/x") == Path("~no_such_user/x")


def test_variables_are_not_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA", "real")
    write("real/a.txt")
    with pytest.raises(UserError, match=r"data.path=\$DATA/a.txt does not exist .*shell alone"):
        find("$DATA/a.txt")


def test_hidden_files_are_left_out_unless_named() -> None:
    write("a.txt", ".b.txt", ".git/c.txt", "d/.e/f.txt", "d/g.txt", ".cache/h.txt")
    assert find(".") == ["a.txt", "d/g.txt"]
    assert find("*") == ["a.txt"]
    assert find("**/*.txt") == find("**") == ["a.txt", "d/g.txt"]
    assert find(".b.txt") == [".b.txt"]
    assert find(".cache") == find(".cache/*") == [".cache/h.txt"]
    assert find(".*.txt") == [".b.txt"]


def test_a_file_counts_once_however_it_is_reached() -> None:
    write("z.txt", "d/x.txt")
    Path("a.txt").symlink_to("z.txt")
    Path("link").symlink_to("d")
    assert find(".") == ["d/x.txt", "z.txt"]
    assert find("a.txt", "z.txt", "./z.txt", str(Path("z.txt").absolute())) == ["z.txt"]
    assert find("d", "link/x.txt", "d/*.txt", "d/../d/x.txt") == ["d/x.txt"]
    assert find("a.txt") == ["a.txt"]


def test_links_to_other_folders_are_followed() -> None:
    write("elsewhere/b.txt", "elsewhere/blob", "data/a.txt")
    Path("data/linked").symlink_to("../elsewhere")
    Path("data/c.txt").symlink_to("../elsewhere/blob")  # as in the hub's cache
    assert find("data") == ["data/a.txt", "data/c.txt", "data/linked/b.txt"]
    assert find("data", recursive=False) == ["data/a.txt", "data/c.txt"]


def test_loops_of_links_end() -> None:
    write("d/a.txt", "d/e/b.txt")
    for name in ("d/up", "d/e/up", "d/e/again"):
        Path(name).symlink_to("..")
    Path("d/self").symlink_to("self")
    for number in range(40):  # would be 2 ** 40 paths
        write(f"deep/{number}/a.txt")
        for name in ("x", "y"):
            Path(f"deep/{number}/{name}").symlink_to(f"../{(number + 1) % 40}")
    assert find("d") == find("d/**/*.txt") == ["d/a.txt", "d/e/b.txt"]
    assert len(find("deep")) == len(find("deep/**")) == 40
    with pytest.raises(UserError, match="data.path=d/self is a link to self, which does not exist"):
        find("d/self")


def test_what_names_no_file_is_refused() -> None:
    write("d/a.csv", "e/f/a.txt")
    Path("broken").symlink_to("gone")
    os.mkfifo("pipe")
    for given, message in (
        ("", r"data.path= is empty; name a file or folder \(\. is the current folder\)"),
        ("gone.txt", r"data.path=gone.txt does not exist \(looked from"),
        ("end ", "data.path='end ' does not exist"),
        ("d", "data.path=d is a folder without text files; it holds a.csv, ..."),
        ("*.txt", r"data.path=\*.txt matches no file \(looked from"),
        ("e/*", r"data.path=e/\* matches only folders \(e/f, ...\); .* e/\*/\*"),
        ("broken", "data.path=broken is a link to gone, which does not exist"),
        ("pipe", "pipe is a pipe or device, which can be read only once"),
    ):
        with pytest.raises(UserError, match=message):
            find(given)
    with pytest.raises(UserError, match="data.path is empty; name a file or folder"):
        find()


def test_the_order_is_that_of_absolute_paths() -> None:
    write("b.txt", "a/z.txt", "a.txt", "c/a.txt")
    ordered = ["a/z.txt", "a.txt", "b.txt", "c/a.txt"]
    assert find("b.txt", "c", str(Path("a.txt").absolute()), "a") == [
        "a/z.txt",
        str(Path("a.txt").absolute()),
        "b.txt",
        "c/a.txt",
    ]
    assert find(".") == ordered


def test_whether_a_name_is_here() -> None:
    write("[a].txt", "d/b.txt")
    assert all(map(names_files, ("[a].txt", "d", "*/b.*", "**/b.txt")))
    assert not any(map(names_files, ("a.txt", "[b].txt", "openwebtext", "d/*.csv")))


def test_an_output_that_cannot_be_written_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    write("README.md", "d/a.txt")
    check_output_folder(Path("new/run"), "run_dir")
    check_output_file(Path("new/out.csv"), "out")
    for folder, message in (
        ("README.md", "run_dir=README.md is a file, but a folder is expected"),
        ("README.md/run", "run_dir=README.md/run: .*README.md is a file"),
    ):
        with pytest.raises(UserError, match=message):
            check_output_folder(Path(folder), "run_dir")
    with pytest.raises(UserError, match="out=d is a folder, but a file is expected"):
        check_output_file(Path("d"), "out")
    monkeypatch.setattr(os, "access", lambda path, mode: path != Path("d").absolute())
    with pytest.raises(UserError, match="run_dir=d/run cannot be created: no permission to write"):
        check_output_folder(Path("d/run"), "run_dir")


def test_an_absent_path_has_a_similar_one(tmp_path: Path) -> None:
    """A part of the path may be wrong; the ending is not compared, and what is named exists."""
    for name in ("tickets.csv", "a.csv", "runs/tickets/x.ckpt", "runs/taxes/y.ckpt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for given, near in (
        ("ticket2.csv", "tickets.csv"),
        ("Tickets.tsv", "tickets.csv"),
        ("runs/tikets", "runs/tickets"),
        ("runs/tikets/x.ckpt", "runs/tickets/x.ckpt"),
    ):
        assert f"; did you mean {tmp_path / near}?)" in absence(tmp_path / given)
    for given in ("b.csv", "runs/tikets/z.ckpt", "none/at/all"):
        assert "did you mean" not in absence(tmp_path / given)
