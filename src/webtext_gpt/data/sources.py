"""Sources of training text: files, a dataset from the hub, or installed docstrings.

A source yields complete documents in an order independent of the machine. Its fingerprint
changes with its content and keys the cache of token shards.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from webtext_gpt.data.docstrings import collect_docstrings, installed_packages
from webtext_gpt.data.documents import Layout, texts_of
from webtext_gpt.data.endings import SUFFIXES, ends_in, kind_of_file, refusal
from webtext_gpt.data.json_row import is_unicode
from webtext_gpt.data.left_out import LeftOut, left_out
from webtext_gpt.data.lines import compression
from webtext_gpt.data.rows import MissingColumnError
from webtext_gpt.data.shards import Split, holds_shards
from webtext_gpt.data.stage_folders import stage_rule
from webtext_gpt.data.tally import MALFORMED, NO_TEXT, Tally
from webtext_gpt.errors import UserError
from webtext_gpt.hub import hub_access, hub_problem
from webtext_gpt.paths import place_of, search_files
from webtext_gpt.tokenizer import Tokenizer


class TextSource(Protocol):
    """A source of documents for token shards."""

    val_fraction: float
    """Fraction of the documents held out for validation; of a single document, its last part."""

    left_out: LeftOut
    """Rows left out by the last call of `documents` that was read to its end."""

    def documents(self) -> Iterator[str]:
        """Yield the text of each document, in the same order in every call."""
        ...

    def fingerprint(self) -> dict[str, Any]:
        """Return plain values that change when the documents do."""
        ...

    def total_bytes(self) -> int | None:
        """Return the approximate size of the text in bytes, or None if it is costly to find."""
        ...


@runtime_checkable
class SplitSource(Protocol):
    """A source that has a tokenizer of its own, and splits its documents itself."""

    tokenizer: Tokenizer
    """The only tokenizer for its documents."""

    left_out: LeftOut
    """Text left out by the last call of `split_documents` that was read to its end."""

    summary: list[str]
    """Description of the documents of that call, as lines to print."""

    def split_documents(self) -> Iterator[tuple[Split, str]]:
        """Yield each document and its split, in the same order in every call."""
        ...

    def fingerprint(self) -> dict[str, Any]:
        """Return plain values that change when the documents or their splits do."""
        ...

    def total_bytes(self) -> int | None:
        """Return the approximate size of the text in bytes, or None if it is costly to find."""
        ...


class Docstrings:
    """Distinct docstrings of the installed Python packages.

    Args:
        val_fraction: fraction of the docstrings held out for validation.
    """

    def __init__(self, val_fraction: float) -> None:
        self.val_fraction = checked_fraction(val_fraction)
        self.left_out: LeftOut = {}
        self._texts: list[str] | None = None

    def documents(self) -> Iterator[str]:
        """Yield the docstrings in order of file name."""
        yield from self._collected()

    def fingerprint(self) -> dict[str, Any]:
        """Return the versions of Python and of the installed packages."""
        return {"kind": "docstrings", "packages": installed_packages()}

    def total_bytes(self) -> int | None:
        """Return the size of all docstrings in bytes."""
        return sum(len(text.encode()) for text in self._collected())

    def _collected(self) -> list[str]:
        if self._texts is None:
            self._texts = collect_docstrings()
        return self._texts


class Files:
    """Text files (one document each) and JSONL or Parquet files (one document per row).

    `data_prep` reads the same files and documents; see `webtext_gpt.data.documents`.

    Args:
        path: a file, a folder, a glob pattern, or a list of these, see `search_files`. In folders,
            files with endings other than `endings.SUFFIXES` are left out, and are listed.
        text_key: column of JSONL and Parquet files that holds the text.
        val_fraction: fraction of the documents held out for validation; of a single document, its
            last part.
        key: prefix of the settings' keys, for messages.

    Raises:
        UserError: a path is empty, matches no file, has an unknown ending or is a folder of token
            shards; or a file is empty.
    """

    def __init__(
        self,
        path: str | list[str],
        val_fraction: float,
        text_key: str = "text",
        key: str = "data",
    ) -> None:
        self.val_fraction = checked_fraction(val_fraction)
        self.text_key = text_key
        self.key = key
        patterns = [path] if isinstance(path, str) else [str(pattern) for pattern in path]
        _refuse_shards(patterns, key)
        found = search_files(
            patterns,
            lambda file: ends_in(file, SUFFIXES),
            key=f"{key}.path",
            kinds="text, JSONL or Parquet files",
            refusal=refusal,
            ignored=stage_rule(),
        )
        self.files = found.files
        self.left_out: LeftOut = {}
        self._others = [file.name for file in found.others]
        for file in self.files:
            if file.stat().st_size == 0:
                raise UserError(f"{file} is empty; remove it or leave it out of {key}.path")

    def documents(self) -> Iterator[str]:
        """Yield the documents in order of file name, then of row."""
        rows, rejected = 0, Counter[str]()
        for file in self.files:
            try:
                for texts, faults in texts_of(file, Layout(text_key=self.text_key)):
                    rows += len(texts) + faults.total()
                    rejected += faults
                    yield from texts
            except MissingColumnError as error:
                raise UserError(f"{error}; set {self.key}.text_key") from error
        self.left_out = left_out(rows, rejected, self._others)

    def fingerprint(self) -> dict[str, Any]:
        """Return the name and content hash of every file."""
        return {
            "kind": "files",
            "text_key": self.text_key,
            "line_ends": "\n",
            "files": content_hashes(self.files),
        }

    def total_bytes(self) -> int | None:
        """Return the size of the files if all of them are plain text, not compressed."""
        if any(kind_of_file(file) != "text" or compression(file) for file in self.files):
            return None
        return sum(file.stat().st_size for file in self.files)


class Hub:
    """A dataset that the `datasets` library loads, from the hub or from a local folder.

    Args:
        name: first argument of `datasets.load_dataset`: `openwebtext`, a folder, `json`, ...
        val_fraction: fraction of the rows held out for validation.
        config: name of the dataset's configuration.
        split: split to read.
        revision: git revision of the dataset.
        data_files: files for the generic builders (`json`, `parquet`, `text`).
        text_key: column that holds the text.
        key: prefix of the settings' keys, for messages.

    Raises:
        UserError: the dataset cannot be loaded, or lacks the column.
    """

    def __init__(
        self,
        name: str,
        val_fraction: float,
        config: str | None = None,
        split: str = "train",
        revision: str | None = None,
        data_files: str | list[str] | None = None,
        text_key: str = "text",
        key: str = "data",
    ) -> None:
        import datasets

        self.val_fraction = checked_fraction(val_fraction)
        self.text_key = text_key
        files = data_files if data_files is None or isinstance(data_files, str) else [*data_files]
        try:
            with hub_access():
                self.dataset = datasets.load_dataset(
                    name, config, split=split, revision=revision, data_files=files
                )
        except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
            raise UserError(
                f"{key}.name={name}: the dataset cannot be loaded: {hub_problem(error)}; texts on "
                "this machine are read with data=files data.path=FOLDER"
            ) from error
        if text_key not in self.dataset.column_names:
            raise UserError(
                f"{key}.name={name} has no column {text_key!r}, only "
                f"{', '.join(self.dataset.column_names)}; set {key}.text_key"
            )
        self.key = key
        self.left_out: LeftOut = {}
        self._identity = {"name": name, "config": config, "split": split, "revision": revision}

    def documents(self) -> Iterator[str]:
        """Yield the text of each row, in the dataset's order."""
        rejected, tally = Counter[str](), Tally(f"{self.key}.name={self._identity['name']}")
        for text in self.dataset[self.text_key]:
            tally.rows += 1
            if text is not None and not isinstance(text, str):
                kind = type(text).__name__
                tally.fault(f"has text in {self.text_key!r}", f"row 0 is {kind}, not text")
                rejected[NO_TEXT] += 1
            elif not text or text.isspace():
                rejected[NO_TEXT] += 1
            elif not is_unicode(text):
                rejected[MALFORMED] += 1
            else:
                yield text
            tally.check(ended=False)
        tally.check(ended=True)
        self.left_out = left_out(tally.rows, rejected, [])

    def fingerprint(self) -> dict[str, Any]:
        """Return the dataset's name and the fingerprint that `datasets` computes for it."""
        return {"kind": "hub", **self._identity, "fingerprint": self.dataset._fingerprint}

    def total_bytes(self) -> int | None:
        """Return None: the size is unknown until the rows are read."""
        return None


def checked_fraction(val_fraction: float) -> float:
    """Return a fraction of the documents to hold out.

    Raises:
        UserError: it leaves one of the splits without documents.
    """
    if not 0 < val_fraction < 1:
        raise UserError(f"data.val_fraction={val_fraction} must be between 0 and 1")
    return val_fraction


def _refuse_shards(paths: list[str], key: str) -> None:
    choice = "data=shards" if key == "data" else f"{key}.kind=shards"
    for path in paths:
        if holds_shards(place_of(path, f"{key}.path")):
            raise UserError(
                f"{key}.path={path} is a folder of token shards, not of texts; read it with "
                f"{choice}"
            )


def content_hashes(files: Iterable[Path]) -> list[list[str]]:
    """Return the name and the SHA-256 of each file."""
    return [[file.name, _sha256(file)] for file in files]


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
