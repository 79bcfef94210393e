"""What every benchmark has: a name, data, and figures that come out."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from webtext_gpt.data.rows import JSON_LINES, PARQUET, Row, read_rows
from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.progress import progress_bar
from webtext_gpt.settings import whole_number
from webtext_gpt.tokenizer import read_text

PARQUET_BRANCH = "refs/convert/parquet"

Parser = Callable[[Path], Iterable[tuple[str, Row]]]
"""Reads a file's rows, each with its place for messages."""


class MissingDataError(UserError):
    """A benchmark's data is not there; the message says how to get it."""


@dataclass(frozen=True)
class Options:
    """How benchmarks are run.

    Attributes:
        limit: take only the first so many examples (of a running text, windows).
        detokenise: undo a benchmark's tokenisation, as the paper does; else score it as it is.
        batch_size: prompts continued at once.

    Raises:
        UserError: a number is out of range.
    """

    limit: int | None = None
    detokenise: bool = True
    batch_size: int = 16

    def __post_init__(self) -> None:
        if self.limit is not None:
            whole_number("limit", self.limit, least=1)
        whole_number("batch_size", self.batch_size, least=1)


@dataclass(frozen=True)
class Measured:
    """What a benchmark found.

    Attributes:
        metrics: its figures by name; accuracies and the like in per cent.
        examples: passages, questions or windows of text that they rest on.
        counts: sizes that a reader needs to check them, as words and tokens.
    """

    metrics: dict[str, float]
    examples: int
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """One figure of one benchmark, and the seconds of wall-clock time that the whole took."""

    task: str
    metric: str
    value: float
    examples: int
    seconds: float


class Benchmark(Protocol):
    """One of the paper's zero-shot tasks."""

    @property
    def name(self) -> str:
        """What `tasks=[...]` calls it."""
        ...

    def run(self, scorer: Scorer, data_dir: Path | None, options: Options) -> Measured:
        """Measure a model.

        Raises:
            MissingDataError: there is no data.
            UserError: the data is not what it should be.
        """
        ...


@dataclass(frozen=True)
class Source:
    """Where a benchmark's data is.

    Attributes:
        files: names that its file may have in `data_dir`; the first found is read.
        columns: of JSONL and Parquet files, and of the dataset on the hub.
        hub: `datasets` name, with its configuration and split.
        data_files: the split's files on the hub, where it has no configuration; then they are
            those of the hub's own Parquet branch, since the dataset itself is a script.
        origin: where its authors publish it.
    """

    files: tuple[str, ...]
    columns: tuple[str, ...]
    hub: str | None = None
    config: str | None = None
    split: str = "test"
    data_files: str | None = None
    origin: str = ""

    def file(self, data_dir: Path) -> Path:
        """The data's file.

        Raises:
            MissingDataError: the folder has none of its names.
        """
        for name in self.files:
            if (data_dir / name).is_file():
                return data_dir / name
        advice = f"leave data_dir out to load {self.hub} from the hub" if self.hub else ""
        where = f"it is published at {self.origin}" if self.origin else ""
        raise MissingDataError(
            f"{data_dir} has none of {', '.join(self.files)}; put one there"
            + "".join(f"; {part}" for part in (where, advice) if part)
        )

    def rows(
        self, data_dir: Path | None, limit: int | None = None, parse: Parser | None = None
    ) -> list[tuple[str, Row]]:
        """The first rows with their places, of a file or of the hub.

        Args:
            data_dir: the file's folder; `None` loads from the hub.
            limit: take only the first so many; `None` takes all.
            parse: reads a file that is neither JSONL nor Parquet, in its authors' own form.

        Raises:
            MissingDataError: there are none to be had.
            UserError: the file is empty, or not what it should be.
        """
        if data_dir is not None:
            file = self.file(data_dir)
            own_form = parse is not None and file.suffix not in JSON_LINES | PARQUET
            found = parse(file) if parse and own_form else read_rows(file, self.columns)
            rows = list(islice(found, limit))
            if not rows:
                raise UserError(f"{file} is empty")
            return rows
        return [(f"{self.hub}, row {n}", row) for n, row in enumerate(self._hub_rows(limit))]

    def text(self, data_dir: Path | None) -> str:
        """The whole text: of a plain file, or the rows of the first column as lines."""
        column = self.columns[0]
        if data_dir is not None and self.file(data_dir).suffix not in JSON_LINES | PARQUET:
            text = read_text(self.file(data_dir))
        else:
            lines = (str(row[column]).removesuffix("\n") for _, row in self.rows(data_dir))
            text = "".join(f"{line}\n" for line in lines)
        if not text.strip():
            raise UserError(f"{self.file(data_dir) if data_dir else self.hub} holds no text")
        return text

    def _hub_rows(self, limit: int | None = None) -> list[Row]:
        if self.hub is None:
            raise MissingDataError(
                f"this benchmark is not on the hub; get it from {self.origin}, and give data_dir="
                f"FOLDER with {self.files[0]} in it"
            )
        import datasets

        try:
            loaded = datasets.load_dataset(
                self.hub,
                self.config,
                split=self.split,
                revision=PARQUET_BRANCH if self.data_files else None,
                data_files={self.split: self.data_files} if self.data_files else None,
                streaming=True,  # or all of its splits would be fetched
            )
            return [{c: row[c] for c in self.columns} for row in islice(loaded, limit)]
        except (
            OSError,
            RuntimeError,
            ValueError,
            KeyError,
            datasets.exceptions.DatasetsError,
        ) as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise MissingDataError(
                f"{self.hub} cannot be loaded from the hub ({reason}); give data_dir=FOLDER with "
                f"{self.files[0]} in it"
            ) from error


@contextmanager
def named(place: str) -> Iterator[None]:
    """Say where an example stands in the message of what is wrong with it."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{place}: {error}") from error


def counted(name: str, total: int, unit: str) -> Any:
    """A progress bar for a benchmark."""
    return progress_bar(name, total=total, unit=unit)
