"""File name endings of documents, in upper or lower case, and the format that each stands for.

A file without any ending (`text8`) is plain text, but is read only if it is named.
"""

from pathlib import Path
from typing import Literal

from webtext_gpt.errors import UserError
from webtext_gpt.files import BOM
from webtext_gpt.paths import shown
from webtext_gpt.signatures import head_of

FileKind = Literal["parquet", "jsonl", "text"]

PACKED = ("", ".gz", ".zst", ".xz", ".bz2")
PARQUET = (".parquet", ".pq")
JSON_LINES = tuple(kind + packed for kind in (".jsonl", ".ndjson") for packed in PACKED)
_TEXT = (".txt", ".text", ".md", ".raw", ".tokens")
PLAIN = tuple(kind + packed for kind in _TEXT for packed in PACKED)
SUFFIXES = (*PARQUET, *JSON_LINES, *PLAIN)

_SHOWN = ".parquet, .pq, .jsonl, .ndjson, .txt, .text, .md, .raw, .tokens (the last seven also "\
    "with .gz, .zst, .xz or .bz2)"  # fmt: skip


def ends_in(path: Path, suffixes: tuple[str, ...]) -> bool:
    """Return whether a file's name has one of the endings, in upper or lower case."""
    return path.name.strip().lower().endswith(suffixes)


def kind_of_file(path: Path) -> FileKind:
    """Return the format that a file's name stands for.

    Raises:
        UserError: the ending is unknown.
    """
    if ends_in(path, PARQUET):
        return "parquet"
    if ends_in(path, JSON_LINES):
        return "jsonl"
    if ends_in(path, PLAIN) or not path.suffix:
        return "text"
    raise UserError(unknown_ending(path, SUFFIXES))


def listed(suffixes: tuple[str, ...]) -> str:
    """Return endings for a message."""
    return _SHOWN if suffixes == SUFFIXES else ", ".join(suffixes)


def refusal(path: Path) -> str | None:
    """Return why a file that a setting names cannot be read as documents; None if it can."""
    if ends_in(path, SUFFIXES):
        return None
    if path.suffix:
        return unknown_ending(path, SUFFIXES)
    if head_of(path).removeprefix(BOM).lstrip().startswith(b"{"):
        return (
            f"{shown(path)} looks like JSON, but its name has no ending; if it is JSONL, add .jsonl"
        )
    return None


def unknown_ending(path: Path, suffixes: tuple[str, ...]) -> str:
    """Return a message about a file whose ending is not read."""
    advice = "rename it, or link it under another name"
    if ends_in(path, tuple(f".json{packed}" for packed in PACKED)):
        advice = "if each line is an object, rename it .jsonl; jq -c '.[]' makes lines of a list"
    return f"{shown(path)}: the ending is none of {listed(suffixes)}; {advice}"
