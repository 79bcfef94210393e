"""Reading a benchmark's data from a local file or from the Hugging Face hub."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from webtext_gpt.data.rows import Row, holds_rows, read_rows, text_value
from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.published import GZIP, published_text
from webtext_gpt.hub import hub_access, hub_problem

PARQUET_BRANCH = "refs/convert/parquet"
"""Branch of a hub dataset to which the hub itself converts the data as Parquet."""

Reader = Callable[[Sequence[Path]], Iterable[tuple[str, Row]]]
"""Reads files in the authors' own format and returns `(location, row)` pairs."""


class MissingDataError(UserError):
    """A benchmark's data is missing. The message says how to get it."""


@dataclass(frozen=True)
class Original:
    """A benchmark in the format in which its authors publish it.

    Attributes:
        files: names in `data_dir`; all of them are needed. `*.story` stands for all files with
            that ending, in the folder or up to two folders below.
        read: reads the files, given in the order of the names.
    """

    files: tuple[str, ...]
    read: Reader


@dataclass(frozen=True)
class DataSource:
    """Location of a benchmark's data.

    Attributes:
        files: accepted file names in `data_dir`: rows, or plain text. The first one found is read.
        columns: columns of the JSONL and Parquet files and of the hub dataset.
        hub: name of the hub dataset. None means that it is not on the hub.
        config: configuration of the hub dataset.
        split: split of the hub dataset.
        data_files: glob of the split's Parquet files in `PARQUET_BRANCH`. Needed for a hub
            dataset that is a loading script, which `datasets` no longer runs.
        origin: address at which the authors publish the data.
        originals: the authors' own formats, read if there is none of `files`.
        folders: folders below `data_dir` that are also searched: those that the published archive
            unpacks to.
    """

    files: tuple[str, ...]
    columns: tuple[str, ...]
    hub: str | None = None
    config: str | None = None
    split: str = "test"
    data_files: str | None = None
    origin: str = ""
    originals: tuple[Original, ...] = ()
    folders: tuple[str, ...] = ()

    def find(self, data_dir: Path) -> tuple[list[Path], Reader | None]:
        """Return the data's files in a folder and their reader, None for one of `files`.

        A name may also have the ending `.gz`.

        Raises:
            MissingDataError: the folder contains none of the files, or not all that are needed.
        """
        incomplete = ""
        for names, read in self._formats():
            found = [self._locate(data_dir, name) for name in names]
            if all(found):
                return [path for paths in found for path in paths], read
            if any(found) and not incomplete:
                present = next(paths[0] for paths in found if paths)
                missing = next(name for name, paths in zip(names, found, strict=True) if not paths)
                incomplete = f"{present} needs {missing}, which {data_dir} does not have"
        advice = f"leave data_dir out to load {self.hub} from the hub" if self.hub else ""
        published = f"it is published at {self.origin}" if self.origin else ""
        accepted = ", ".join(" with ".join(names) for names, _ in self._formats())
        missing = incomplete or f"{data_dir} has none of {accepted}; put one there"
        paths = (data_dir / name for names, _ in self._formats() for name in names)
        folder = next((f"{path} is a folder, not a file" for path in paths if path.is_dir()), "")
        raise MissingDataError(
            missing + "".join(f"; {part}" for part in (folder, published, advice) if part)
        )

    def file(self, data_dir: Path) -> Path:
        """Return the first of the data's files in a folder; see `find`."""
        return self.find(data_dir)[0][0]

    def _formats(self) -> Iterator[tuple[tuple[str, ...], Reader | None]]:
        """Yield the names that are needed together, and their reader."""
        yield from (((name,), None) for name in self.files)
        yield from ((original.files, original.read) for original in self.originals)

    def _locate(self, data_dir: Path, name: str) -> list[Path]:
        """Return the files that a name stands for, in the first folder that has them."""
        if name.startswith("*"):
            below = (path for depth in ("", "*/", "*/*/") for path in data_dir.glob(depth + name))
            return sorted(path for path in below if path.is_file())
        for folder in ("", *self.folders):
            for path in (data_dir / folder / name, data_dir / folder / (name + GZIP)):
                if path.is_file():
                    return [path]
        return []

    def rows(self, data_dir: Path | None, limit: int | None = None) -> list[tuple[str, Row]]:
        """Return `(location, row)` pairs, the location being a prefix for error messages.

        Args:
            data_dir: folder with the file. None loads the rows from the hub.
            limit: maximum number of rows. None means all.

        Raises:
            MissingDataError: the data cannot be found or downloaded.
            UserError: the file is empty or malformed.
        """
        if data_dir is None:
            return [(f"{self.hub}, row {n}", row) for n, row in enumerate(self._hub_rows(limit))]
        files, read = self.find(data_dir)
        pairs = read(files) if read else read_rows(files[0], self.columns)
        rows = list(islice(pairs, limit))
        if not rows:
            raise UserError(f"{files[0]} is empty")
        return rows

    def text(self, data_dir: Path | None) -> str:
        """Return the text: the contents of a plain file, or the first column's rows as lines.

        Raises:
            MissingDataError: the data cannot be found or downloaded.
            UserError: the text is empty, or the file is malformed.
        """
        column = self.columns[0]
        if data_dir is not None and not holds_rows(self.file(data_dir)):
            text = published_text(self.file(data_dir), self.files)
        else:
            lines = (text_value(row, column, place) for place, row in self.rows(data_dir))
            text = "".join(line.removesuffix("\n") + "\n" for line in lines)
        if not text.strip():
            raise UserError(f"{self.file(data_dir) if data_dir else self.hub} contains no text")
        return text

    def _hub_rows(self, limit: int | None = None) -> list[Row]:
        if self.hub is None:
            raise MissingDataError(
                f"this benchmark is not on the hub; get it from {self.origin} and give "
                f"data_dir=FOLDER with {self.files[0]} in it"
            )
        import datasets

        try:
            with hub_access():
                loaded = datasets.load_dataset(
                    self.hub,
                    self.config,
                    split=self.split,
                    revision=PARQUET_BRANCH if self.data_files else None,
                    data_files={self.split: self.data_files} if self.data_files else None,
                    streaming=True,  # otherwise every split is downloaded
                )
                return [{c: row[c] for c in self.columns} for row in islice(loaded, limit)]
        except (
            OSError,
            RuntimeError,
            ValueError,
            KeyError,
            datasets.exceptions.DatasetsError,
        ) as error:
            raise MissingDataError(
                f"{self.hub} cannot be loaded from the hub: {hub_problem(error)}; give "
                f"data_dir=FOLDER with {self.files[0]} in it"
            ) from error
