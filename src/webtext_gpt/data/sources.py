"""Where training text comes from: files, a dataset of the hub, or installed docstrings.

A source yields whole documents, in an order that does not depend on the machine, and a
fingerprint of what goes in, by which its token shards are found again.
"""

import hashlib
from collections.abc import Iterator
from glob import glob
from pathlib import Path
from typing import Any, Protocol

from webtext_gpt.data.docstrings import collect_docstrings, installed_packages
from webtext_gpt.data.rows import JSON_LINES, PARQUET, MissingColumnError, read_rows, text_value
from webtext_gpt.errors import UserError
from webtext_gpt.tokenizer import read_text


class TextSource(Protocol):
    """What can be made into token shards."""

    val_fraction: float
    """Share of the documents, or of the end of a single text, held out for validation."""

    def documents(self) -> Iterator[str]:
        """The documents' text, the same at every call."""
        ...

    def fingerprint(self) -> dict[str, Any]:
        """Plain values that change when the documents do."""
        ...

    def total_bytes(self) -> int | None:
        """About how many bytes of text there are, where that is cheap to say."""
        ...


class Docstrings:
    """The docstrings of the Python packages installed here, each kept once.

    Args:
        val_fraction: share of the docstrings held out for validation.
    """

    def __init__(self, val_fraction: float) -> None:
        self.val_fraction = _checked_fraction(val_fraction)
        self._texts: list[str] | None = None

    def documents(self) -> Iterator[str]:
        """Docstrings in the order of their files' names."""
        yield from self._collected()

    def fingerprint(self) -> dict[str, Any]:
        """The interpreter and the installed packages with their versions."""
        return {"kind": "docstrings", "packages": installed_packages()}

    def total_bytes(self) -> int | None:
        """Bytes of all docstrings."""
        return sum(len(text.encode()) for text in self._collected())

    def _collected(self) -> list[str]:
        if self._texts is None:
            self._texts = collect_docstrings()
        return self._texts


PLAIN = {".txt", ".text", ".md"}


class Files:
    """Text files (a document each), JSONL and Parquet (a document a row).

    Args:
        path: a file, a folder, a glob pattern, or a list of these. Folders are searched for the
            endings .txt .text .md .jsonl .ndjson .parquet .pq; a file of another ending that is
            named itself is read as text.
        text_key: column of JSONL and Parquet files that holds the text.
        val_fraction: share of the documents held out for validation; of a single text, the end.

    Raises:
        UserError: nothing is found at a path, or a file found is empty.
    """

    def __init__(self, path: str | list[str], val_fraction: float, text_key: str = "text") -> None:
        self.val_fraction = _checked_fraction(val_fraction)
        self.text_key = text_key
        patterns = [path] if isinstance(path, str) else list(path)
        found = {file for pattern in patterns for file in _find(str(pattern))}
        self.files = sorted(found, key=Path.absolute)  # the same however a path is spelled
        for file in self.files:
            if file.stat().st_size == 0:
                raise UserError(f"{file} is empty; remove it or leave it out of data.path")

    def documents(self) -> Iterator[str]:
        """Documents in the order of the files' names and of their rows."""
        for file in self.files:
            suffix = file.suffix.lower()
            if suffix in PARQUET | JSON_LINES:
                yield from self._texts_of_rows(file)
            else:
                yield read_text(file).replace("\r\n", "\n")  # Windows' line ends are no text

    def _texts_of_rows(self, file: Path) -> Iterator[str]:
        try:
            for place, row in read_rows(file, [self.text_key]):
                yield text_value(row, self.text_key, place)
        except MissingColumnError as error:
            raise UserError(f"{error}; set data.text_key") from error

    def fingerprint(self) -> dict[str, Any]:
        """The name and content hash of every file."""
        return {
            "kind": "files",
            "text_key": self.text_key,
            "line_ends": "\n",
            "files": [[file.name, _sha256(file)] for file in self.files],
        }

    def total_bytes(self) -> int | None:
        """Size of the files, where they are plain text."""
        if any(file.suffix.lower() in PARQUET | JSON_LINES for file in self.files):
            return None
        return sum(file.stat().st_size for file in self.files)


class Hub:
    """A dataset by its `datasets` name: from the hub, or a local folder.

    Args:
        name: what `datasets.load_dataset` takes first: `openwebtext`, a folder, `json`, ...
        val_fraction: share of the rows held out for validation.
        config: the dataset's configuration.
        split: which of its splits is read.
        revision: which version of it.
        data_files: files for the generic builders (`json`, `parquet`, `text`).
        text_key: column that holds the text.

    Raises:
        UserError: it cannot be loaded, or has no such column.
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
    ) -> None:
        import datasets

        self.val_fraction = _checked_fraction(val_fraction)
        self.text_key = text_key
        files = data_files if data_files is None or isinstance(data_files, str) else [*data_files]
        try:
            self.dataset = datasets.load_dataset(
                name, config, split=split, revision=revision, data_files=files
            )
        except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
            raise UserError(f"data.name={name}: the dataset cannot be loaded: {error}") from error
        if text_key not in self.dataset.column_names:
            raise UserError(
                f"data.name={name} has no column {text_key!r}, only "
                f"{', '.join(self.dataset.column_names)}; set data.text_key"
            )
        self._identity = {"name": name, "config": config, "split": split, "revision": revision}

    def documents(self) -> Iterator[str]:
        """The rows' text in the dataset's order."""
        for number, text in enumerate(self.dataset[self.text_key]):
            place = f"{self._identity['name']}, row {number}"
            yield text_value({self.text_key: text}, self.text_key, place)

    def fingerprint(self) -> dict[str, Any]:
        """The dataset's name and its own fingerprint of its content."""
        return {"kind": "hub", **self._identity, "fingerprint": self.dataset._fingerprint}

    def total_bytes(self) -> int | None:
        """Not known before the rows are read."""
        return None


def _checked_fraction(val_fraction: float) -> float:
    if not 0 < val_fraction < 1:
        raise UserError(f"data.val_fraction={val_fraction} must lie between 0 and 1")
    return val_fraction


def _find(pattern: str) -> Iterator[Path]:
    path = Path(pattern).expanduser()
    if path.is_file():
        yield path
        return
    if path.is_dir():
        wanted = PARQUET | JSON_LINES | PLAIN
        found = [p for p in path.rglob("*") if p.suffix.lower() in wanted and p.is_file()]
    else:
        found = [p for p in map(Path, glob(str(path), recursive=True)) if p.is_file()]
    if not found:
        what = "a folder without text, JSONL or Parquet files" if path.is_dir() else "not there"
        raise UserError(f"data.path={pattern} is {what} (looked from {Path.cwd()})")
    yield from found


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
