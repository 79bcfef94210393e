"""The documentation names only files, functions and anchors that exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
ROOTS = (REPOSITORY, REPOSITORY / "src" / "webtext_gpt")
"""Folders to which paths in the documents are relative."""

CODE = re.compile(r"`([\w./-]+?\.(?:py|yaml))(?:::([\w.]+))?`")
FOLDER = re.compile(r"`((?:data_prep|conf|tests|src|training|finetuning|evaluation)/[\w/]*/)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def _prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)


GENERATED = ("configuration.md", "performance.md")
RECORDS = ("CHANGELOG.md", "decisions.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_line_of_prose_has_over_100_characters(page: Path) -> None:
    """But for tables, pictures, indented code, and names that cannot be broken."""
    if page.name in (*GENERATED, *RECORDS):
        pytest.skip("made by a program, or a record that is only added to")
    long = [line for line in _prose(page).split("\n") if len(line) > 100]
    prose = [line for line in long if not line.startswith(("|", "!", "    "))]
    assert [line for line in prose if " " in line.strip(" -,.`")] == []


def _found(path: str) -> Path | None:
    return next((root / path for root in ROOTS if (root / path).exists()), None)


@cache
def _names(file: Path) -> frozenset[str]:
    """Return dotted names of a module's functions, classes, methods and assigned names."""

    def walk(body: list[ast.stmt], prefix: str) -> set[str]:
        names = set()
        for node in body:
            if isinstance(node, ast.ClassDef):
                names |= {prefix + node.name} | walk(node.body, f"{prefix}{node.name}.")
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                names.add(prefix + node.name)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names |= {prefix + t.id for t in targets if isinstance(t, ast.Name)}
        return names

    return frozenset(walk(ast.parse(file.read_text(encoding="utf-8")).body, ""))


def _anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", _prose(page), flags=re.M)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link in LINK.findall(_prose(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in _anchors(target), f"{page.name}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_names_exist(page: Path) -> None:
    """Check `file.py::name` everywhere, and other paths if they begin with a folder."""
    for path, name in CODE.findall(_prose(page)):
        if "/" not in path and not name:
            continue  # `train.py`, `config.yaml`: commands, and files that a run writes
        if path.startswith("DIR/"):
            continue  # a folder of the reader's own
        file = _found(path)
        assert file is not None, f"{page.name}: {path}"
        if name:
            assert name in _names(file), f"{page.name}: {path}::{name}"
    for folder in FOLDER.findall(_prose(page)):
        assert _found(folder) is not None, f"{page.name}: {folder}"


def test_the_architecture_page_names_the_code() -> None:
    page = REPOSITORY / "docs" / "explanation" / "architecture.md"
    architecture = page.read_text(encoding="utf-8")
    assert len(CODE.findall(architecture)) >= 100
