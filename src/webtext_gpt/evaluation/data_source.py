"""Reading a benchmark's data from a local file or from the Hugging Face hub."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from webtext_gpt.data.rows import Row, holds_rows, read_rows
from webtext_gpt.errors import UserError
from webtext_gpt.files import read_text
from webtext_gpt.hub import hub_problem

PARQUET_BRANCH = "refs/convert/parquet"
"""Branch of a hub dataset to which the hub itself converts the data as Parquet."""

Parser = Callable[[Path], Iterable[tuple[str, Row]]]
"""Reads a file in the authors' own format and returns `(location, row)` pairs."""


class MissingDataError(UserError):
    """A benchmark's data is missing. The message says how to get it."""


@dataclass(frozen=True)
class DataSource:
    """Location of a benchmark's data.

    Attributes:
        files: accepted file names in `data_dir`. The first one found is read.
        columns: columns of the JSONL and Parquet files and of the hub dataset.
        hub: name of the hub dataset. None means that it is not on the hub.
        config: configuration of the hub dataset.
        split: split of the hub dataset.
        data_files: glob of the split's Parquet files in `PARQUET_BRANCH`. Needed for a hub
            dataset that is a loading script, which `datasets` no longer runs.
        origin: address at which the authors publish the data.
    """

    files: tuple[str, ...]
    columns: tuple[str, ...]
    hub: str | None = None
    config: str | None = None
    split: str = "test"
    data_files: str | None = None
    origin: str = ""

    def file(self, data_dir: Path) -> Path:
        """Return the data's file in a folder.

        Raises:
            MissingDataError: the folder contains none of `files`.
        """
        for name in self.files:
            if (data_dir / name).is_file():
                return data_dir / name
        advice = f"leave data_dir out to load {self.hub} from the hub" if self.hub else ""
        published = f"it is published at {self.origin}" if self.origin else ""
        raise MissingDataError(
            f"{data_dir} has none of {', '.join(self.files)}; put one there"
            + "".join(f"; {part}" for part in (published, advice) if part)
        )

    def rows(
        self, data_dir: Path | None, limit: int | None = None, parse: Parser | None = None
    ) -> list[tuple[str, Row]]:
        """Return `(location, row)` pairs, the location being a prefix for error messages.

        Args:
            data_dir: folder with the file. None loads the rows from the hub.
            limit: maximum number of rows. None means all.
            parse: reader for a file that is neither JSONL nor Parquet.

        Raises:
            MissingDataError: the data cannot be found or downloaded.
            UserError: the file is empty or malformed.
        """
        if data_dir is None:
            return [(f"{self.hub}, row {n}", row) for n, row in enumerate(self._hub_rows(limit))]
        file = self.file(data_dir)
        if parse is None or holds_rows(file):
            pairs: Iterable[tuple[str, Row]] = read_rows(file, self.columns)
        else:
            pairs = parse(file)
        rows = list(islice(pairs, limit))
        if not rows:
            raise UserError(f"{file} is empty")
        return rows

    def text(self, data_dir: Path | None) -> str:
        """Return the text: the contents of a plain file, or the first column's rows as lines.

        Raises:
            MissingDataError: the data cannot be found or downloaded.
            UserError: the text is empty, or the file is malformed.
        """
        column = self.columns[0]
        if data_dir is not None and not holds_rows(self.file(data_dir)):
            text = read_text(self.file(data_dir))
        else:
            lines = (str(row[column]).removesuffix("\n") for _, row in self.rows(data_dir))
            text = "".join(f"{line}\n" for line in lines)
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
