"""Labelled texts: files of good and bad texts, rows with a label, or documents by their karma."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_prep.crawl.urls import Link, UrlRules, url_cleaner
from data_prep.stage.inputs import InputFile
from data_prep.stage.readers import SUFFIXES, Layout, TextBatch, batches, open_parquet
from webtext_gpt.data.json_row import decode_row
from webtext_gpt.data.rows import MissingColumnError
from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.data.delimited import read_delimited

DELIMITED = (".csv", ".tsv")
ROWS_AT_ONCE = 1024
LABELLED_SUFFIXES = (*SUFFIXES, *DELIMITED)

GOOD, BAD = 1, 0


@dataclass
class LabelledBatch:
    """Some labelled texts of one file.

    Attributes:
        texts: The texts, a string array without nulls.
        labels: GOOD or BAD for each, (texts,).
        rejected: Rows left out, by reason.
    """

    texts: pa.Array
    labels: npt.NDArray[np.int8]
    rejected: Counter[str]


LabelOf = Callable[[Path, TextBatch], list[int | str]]
"""Gives the label of each row of a file's batch, or the reason why the row has none."""


def labelled(file: InputFile, layout: Layout, label_of: LabelOf) -> Iterator[LabelledBatch]:
    """Yield the labelled texts of one file.

    Raises:
        UserError: The file cannot be read, or lacks a column.
    """
    read = _delimited if file.path.suffix.lower() in DELIMITED else batches
    for batch in read(file.path, layout):
        found = label_of(file.path, batch)
        kept = pa.array([isinstance(label, int) for label in found], pa.bool_())
        rejected = batch.rejected + Counter(r for r in found if isinstance(r, str))
        labels = np.array([label for label in found if isinstance(label, int)], np.int8)
        yield LabelledBatch(batch.texts.filter(kept), labels, rejected)


def by_file(label: int) -> LabelOf:
    """Give every row the same label."""
    return lambda path, batch: [label] * len(batch.texts)


def by_column(key: str, good: Collection[str], bad: Collection[str]) -> LabelOf:
    """Read the labels from a column, whose values are compared as text: `true`, `1`, `good`."""

    def label_of(path: Path, batch: TextBatch) -> list[int | str]:
        return [_label(value, good, bad) for value in _column(path, batch, key, "label_key")]

    return label_of


def by_karma(links: Sequence[InputFile], good: int, bad: int) -> LabelOf:
    """Label documents by the karma of their page's links: at least `good`, or at most `bad`.

    A document belongs to the link whose canonical URL is that of its column `url`.

    Args:
        links: Parquet files of `links.py`.
        good: Lowest karma of a good text.
        bad: Highest karma of a bad text.

    Raises:
        UserError: A file of links cannot be read. In use: a file of documents lacks `url`.
    """
    clean = url_cleaner(UrlRules({}, frozenset(), (), allow_private=True))

    def key_of(url: str | None) -> int | None:
        link = clean(url) if url else None
        return int(link.id[:16], 16) if isinstance(link, Link) else None

    keys, karmas = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for file in links:
        with open_parquet(file.path, needed=("url", "karma")) as rows:
            for batch in rows.iter_batches(columns=["url", "karma"]):
                pairs = [
                    (key, karma)
                    for url, karma in zip(*(c.to_pylist() for c in batch.columns), strict=True)
                    if (key := key_of(url)) is not None and karma is not None
                ]
                keys.append(np.array([key for key, _ in pairs], np.uint64))
                karmas.append(np.array([karma for _, karma in pairs], np.int64))
    every, karma = np.concatenate(keys), np.concatenate(karmas)
    order = np.lexsort((karma, every))  # if a page has several links, the lowest karma counts
    every, karma = every[order], karma[order]

    def one(url: str | None) -> int | str:
        key = key_of(url)
        at = int(np.searchsorted(every, np.uint64(key))) if key is not None else len(every)
        if at == len(every) or int(every[at]) != key:
            return "no karma"
        value = int(karma[at])
        return GOOD if value >= good else BAD if value <= bad else "karma between the classes"

    def label_of(path: Path, batch: TextBatch) -> list[int | str]:
        urls = _column(path, batch, "url", "")
        return [one(url if isinstance(url, str) else None) for url in urls]

    return label_of


def _label(value: object, good: Collection[str], bad: Collection[str]) -> int | str:
    if value is None or value == "":
        return "no label"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if text not in good and text not in bad:  # as pandas writes true, and 1 in a column with gaps
        text = {"True": "true", "False": "false"}.get(text, text.removesuffix(".0"))
    return GOOD if text in good else BAD if text in bad else "another label"


def _column(path: Path, batch: TextBatch, key: str, setting: str) -> list[object]:
    """Return a column besides the text.

    Raises:
        UserError: The file has no such column.
    """
    if batch.kind == "jsonl":
        rows = [decode_row(line) for line in batch.rows["line"].to_pylist()]
        return [row.get(key) for row in rows if isinstance(row, dict)]
    if batch.kind == "text" or key not in batch.rows.column_names:
        there = (
            "text without columns"
            if batch.kind == "text"
            else (f"columns {', '.join(batch.rows.column_names)}")
        )
        hint = f"; set {setting}" if setting else ""
        raise UserError(f"{path}: no column {key!r}, only {there}{hint}")
    column: list[object] = batch.rows[key].to_pylist()
    return column


def _delimited(path: Path, layout: Layout) -> Iterator[TextBatch]:
    """Yield the rows of a CSV or TSV file, with all columns."""
    found = read_delimited(path, [layout.text_key], has_settings=False)
    try:
        while rows := [row for _, row in islice(found, ROWS_AT_ONCE)]:
            yield _batch(path, rows, layout.text_key)
    except MissingColumnError as error:
        raise UserError(f"{error}; set text_key if the text has another name") from error


def _batch(path: Path, rows: list[dict[str, object]], key: str) -> TextBatch:
    sound = [row for row in rows if str(row[key]).strip()]
    texts = pa.array([str(row[key]) for row in sound], pa.large_string())
    rejected = +Counter({"no text": len(rows) - len(sound)})
    table = pa.table({name: [row[name] for row in sound] for name in rows[0]})
    return TextBatch(texts, "parquet", rejected, table, None, path.name, list(range(len(sound))))
