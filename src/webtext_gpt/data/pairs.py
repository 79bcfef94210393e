"""Parallel text: sentences and their translations, read from two files of lines or from one."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from webtext_gpt.data.endings import ends_in
from webtext_gpt.data.lines import LONGEST_LINE, BrokenFileError, every_line
from webtext_gpt.data.prepare import held_out
from webtext_gpt.data.rows import holds_rows, read_rows, text_value
from webtext_gpt.errors import UserError
from webtext_gpt.files import BOM
from webtext_gpt.paths import absence, readable_path

TSV = (".tsv",)


class Pair(NamedTuple):
    """A sentence and its translation."""

    source: str
    target: str
    line: int
    """Line of the files, or row of the one, from 1."""


class Files(NamedTuple):
    """Pairs of one file or two that have text on both sides, and how many do not."""

    name: str
    """Name of the file of sources."""
    pairs: list[Pair]
    empty: list[int]
    """Lines that are empty on one side or both, which are left out."""

    @property
    def sources(self) -> list[str]:
        """The sentences to translate."""
        return [pair.source for pair in self.pairs]

    @property
    def targets(self) -> list[str]:
        """Their translations."""
        return [pair.target for pair in self.pairs]


@dataclass(frozen=True, kw_only=True)
class ParallelText:
    """The pairs of `data=pairs`; for the fields see `webtext_gpt.settings.data.Pairs`."""

    source: str
    target_file: str | None = None
    val_source: str | None = None
    val_target: str | None = None
    val_fraction: float = 0.01
    source_key: str = "source"
    target_key: str = "target"

    def splits(self) -> tuple[Files, Files]:
        """Return the pairs of training and of validation.

        Raises:
            UserError: a file cannot be read, files differ in length, or a split has no pair.
        """
        training = self._files("data.source", self.source, "data.target", self.target_file)
        if self.val_source is not None:
            held = self._files(
                "data.val_source", self.val_source, "data.val_target", self.val_target
            )
        else:
            if self.val_target is not None:
                raise UserError(
                    f"data.val_target={self.val_target} needs data.val_source=, the file of the "
                    "sentences"
                )
            training, held = self._divided(training)
        for split, what in ((training, "training"), (held, "validation")):
            if not split.pairs:
                raise UserError(f"{split.name} leaves no pair of sentences for {what}")
        return training, held

    def _divided(self, files: Files) -> tuple[Files, Files]:
        """Hold out a fraction of the pairs, at least one, by a hash of their text."""
        is_held = [held_out(f"{p.source}\n{p.target}", self.val_fraction) for p in files.pairs]
        if len(is_held) > 1 and not any(is_held):
            is_held[-1] = True
        training, held = (
            [pair for pair, out in zip(files.pairs, is_held, strict=True) if out == which]
            for which in (False, True)
        )
        return Files(files.name, training, files.empty), Files(files.name, held, [])

    def _files(self, key: str, source: str, target_key: str, target: str | None) -> Files:
        """Read one file of both sides, or one file for each side."""
        path = _existing(key, source)
        if target is not None:
            rows = _parallel(path, _existing(target_key, target))
        elif ends_in(path, TSV):
            rows = self._columns(path)
        elif holds_rows(path):
            rows = self._keyed(path)
        else:
            raise UserError(
                f"{key}={source} is a file of sentences; give {target_key}=FILE with their "
                "translations, or one .tsv or .jsonl file that has both"
            )
        pairs = [Pair(source.strip(), target.strip(), line) for source, target, line in rows]
        return Files(
            str(path),
            [pair for pair in pairs if pair.source and pair.target],
            [pair.line for pair in pairs if not (pair.source and pair.target)],
        )

    def _keyed(self, path: Path) -> Iterator[Pair]:
        """Yield the pairs of a JSONL or Parquet file."""
        columns = (self.source_key, self.target_key)
        for number, (place, row) in enumerate(read_rows(path, columns), 1):
            source, target = (text_value(row, column, place) for column in columns)
            yield Pair(source, target, number)

    def _columns(self, path: Path) -> Iterator[Pair]:
        """Yield the first two columns of a .tsv file, or those that its header names."""
        one, other = 0, 1
        for number, line in enumerate(_lines(path), 1):
            cells = line.split("\t")
            if number == 1 and {self.source_key, self.target_key} <= set(cells):
                one, other = cells.index(self.source_key), cells.index(self.target_key)
                continue
            if not line.strip():
                yield Pair("", "", number)
                continue
            if len(cells) <= max(one, other):
                raise UserError(
                    f"{path}, line {number} has no tab between a sentence and its translation"
                )
            yield Pair(cells[one], cells[other], number)


def _existing(key: str, name: str) -> Path:
    path = readable_path(name, key)
    if not path.is_file():
        raise UserError(f"{key}={name} {absence(path)}; give a file of sentences")
    return path


def _parallel(source: Path, target: Path) -> Iterator[Pair]:
    """Yield the lines of two files, empty ones included.

    Raises:
        UserError: one file has more lines; the first of them is named.
    """
    sources, targets = _lines(source), _lines(target)
    if len(sources) != len(targets):
        longer, shorter = (source, target) if len(sources) > len(targets) else (target, source)
        raise UserError(
            f"{source} has {len(sources):,} lines and {target} has {len(targets):,}: line "
            f"{min(len(sources), len(targets)) + 1:,} of {longer} has no translation in {shorter}; "
            "give files that are translations line by line"
        )
    yield from (
        Pair(*both, line) for line, both in enumerate(zip(sources, targets, strict=True), 1)
    )


def _lines(path: Path) -> list[str]:
    """Return the lines of a file, plain or compressed, empty ones included.

    Raises:
        UserError: the file is damaged, or not UTF-8.
    """
    raw: list[bytes | None] = []
    try:
        for batch in every_line(path, lambda _: None, LONGEST_LINE):
            raw += batch
    except BrokenFileError as error:
        raise UserError(f"{path}: {error}, after {len(raw):,} lines") from error
    if raw and raw[-1] == b"":
        raw.pop()  # after the last newline
    lines = []
    for number, line in enumerate(raw, 1):
        if line is None:
            raise UserError(f"{path}: line {number:,} has more than {LONGEST_LINE:,} bytes")
        try:
            lines.append(line.removeprefix(BOM).decode())
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path}, line {number:,} is not UTF-8: byte {line[error.start]:#04x} at position "
                f"{error.start}; convert the file"
            ) from error
    return lines
