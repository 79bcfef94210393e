"""Predictions of a saved classifier: logits of texts, and files of labels."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
import torch
from torch import Tensor

from webtext_gpt.errors import UserError
from webtext_gpt.files import replaced
from webtext_gpt.finetuning.data.delimited import PLAIN, CsvStyle
from webtext_gpt.finetuning.data.examples import TextRow
from webtext_gpt.finetuning.data.sequences import encode_texts, pad_right
from webtext_gpt.model import GPTClassifier
from webtext_gpt.paths import check_output_file
from webtext_gpt.progress import progress_bar
from webtext_gpt.tokenizer import Tokenizer

CHUNK = 1024
"""Number of rows read, batched by length and written at a time."""


class TextClassifier:
    """A classifier with its tokenizer.

    Args:
        model: in evaluation mode, on the device to run on.
        tokenizer: the model's.
        batch_tokens: maximum tokens of a forward pass, padding included.

    Attributes:
        truncated: number of texts so far that were cut at their end to fit the context.
    """

    def __init__(
        self, model: GPTClassifier, tokenizer: Tokenizer, batch_tokens: int = 8192
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.batch_tokens = batch_tokens
        self.truncated = 0

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names, in the order of the logits."""
        return self.model.config.labels

    @torch.inference_mode()
    def logits(self, texts: Sequence[str], seconds: Sequence[str] | None = None) -> Tensor:
        """Return logits `(n, n_labels)` in fp32 on the CPU.

        A text's logits do not depend on the other texts.

        Args:
            texts: one per row.
            seconds: the second texts, if rows are pairs.

        Raises:
            UserError: the classifier reads pairs and `seconds` is `None`, or the reverse; or a
                logit is not finite.
        """
        config = self.model.config
        if (seconds is not None) != (config.delimiter_token_id is not None):
            raise UserError(
                "this classifier reads pairs of texts; name the second one's column, "
                "task.text_pair=..."
                if seconds is None
                else "this classifier reads single texts; leave task.text_pair out"
            )
        encoded = encode_texts(
            self.tokenizer, config, self.model.body.config.block_size, texts, seconds
        )
        self.truncated += encoded.truncated
        result = torch.zeros(len(texts), len(config.labels))
        device = self.model.head.weight.device
        for rows in self._batches(encoded.lengths.tolist()):
            tokens_of_rows = [encoded.tokens[row] for row in rows]
            if not tokens_of_rows[-1].size:  # the longest is empty, so all of them are
                tokens_of_rows = [np.array([config.pad_token_id])] * len(rows)
            tokens, lengths = pad_right(tokens_of_rows, config.pad_token_id)
            lengths = lengths.clamp(min=1)
            result[rows] = self.model(tokens.to(device), lengths.to(device)).float().cpu()
        if not result.isfinite().all():
            raise UserError(
                "the classifier gives logits that are not finite; its weights are damaged"
            )
        return result

    def _batches(self, lengths: list[int]) -> Iterator[list[int]]:
        """Yield batches of row numbers, shortest rows first, within `batch_tokens`."""
        batch: list[int] = []
        for row in sorted(range(len(lengths)), key=lengths.__getitem__):
            if batch and lengths[row] * (len(batch) + 1) > self.batch_tokens:
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch


class Prediction(NamedTuple):
    """The prediction for one row."""

    row: TextRow
    label: str | float | None
    """The most probable class, or a regression's predicted number; `None` for an empty text."""
    probabilities: list[float]
    """Probabilities of all classes; empty for a regression, and for an empty text."""


def predict(classifier: TextClassifier, rows: Iterable[TextRow]) -> Iterator[Prediction]:
    """Yield the prediction for each row, in order; `CHUNK` rows are held in memory at a time."""
    rows = iter(rows)
    while chunk := list(islice(rows, CHUNK)):
        found = iter(_predictions(classifier, [row for row in chunk if not row.is_empty]))
        for row in chunk:
            yield Prediction(row, None, []) if row.is_empty else next(found)


def _predictions(classifier: TextClassifier, rows: list[TextRow]) -> list[Prediction]:
    """Return the predictions of rows that have texts."""
    if not rows:
        return []
    seconds = None if rows[0].second is None else [row.second or "" for row in rows]
    logits = classifier.logits([row.text for row in rows], seconds)
    if len(classifier.labels) == 1:
        values = logits[:, 0].tolist()
        return [Prediction(row, value, []) for row, value in zip(rows, values, strict=True)]
    every = logits.softmax(dim=1)
    names = [classifier.labels[best] for best in every.argmax(dim=1).tolist()]
    return list(map(Prediction, rows, names, every.tolist()))


def predict_file(
    classifier: TextClassifier,
    rows: Iterable[TextRow],
    out: Path,
    columns: Sequence[str] | None = None,
    style: CsvStyle = PLAIN,
) -> int:
    """Write each row with its label, the label's probability and all classes' probabilities.

    The row's own columns come first, as they were read.

    Args:
        classifier: see `TextClassifier`.
        rows: rows to label, in the order of the output.
        out: a `.csv` or `.jsonl` file, which appears only once it is complete.
        columns: names of all columns of the rows; `None` takes those of the first row.
        style: separator and head of a `.csv` file.

    Returns:
        The number of rows.

    Raises:
        UserError: see `check_out` and `output_names`; or there are no rows, or one cannot be read.
    """
    check_out(out)
    count = 0
    rows = iter(rows)
    first = list(islice(rows, 1))
    if columns is None:
        columns = list(first[0].columns) if first else ()
    names = output_names(columns, classifier.labels, out)
    with replaced(out) as partial:
        with (
            # A half of a surrogate pair, which JSON can hold, is written as JSON's escape of it.
            partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
            progress_bar("predicting", unit="rows") as bar,
        ):
            if out.suffix.lower() == ".csv":
                put = _csv(stream, columns, names, style)
            else:
                put = _json_lines(stream, classifier.labels, columns, names)
            for prediction in predict(classifier, chain(first, rows)):
                put(prediction)
                count += 1
                bar.update(1)
        if not count:
            raise UserError("there are no rows to predict")
    return count


def check_out(out: Path) -> None:
    """Refuse a file that predictions cannot be written to.

    Raises:
        UserError: its suffix is neither .csv nor .jsonl, or the file exists.
    """
    if out.suffix.lower() not in (".csv", ".jsonl"):
        raise UserError(f"out={out} must end in .csv or .jsonl")
    if out.exists():
        raise UserError(f"out={out} exists; remove it or name another file")
    check_output_file(out, "out")


def output_names(columns: Sequence[str], labels: Sequence[str], out: Path) -> list[str]:
    """Return the names of the columns that predictions add to those of the input.

    They are `label` and, for classes, `probability` and one `p(CLASS)` for each, or in JSONL
    `probabilities`. A name that the input has already gets `predicted_` ahead of it.

    Args:
        columns: the input's columns.
        labels: the classifier's labels; a single one means a regression.
        out: the file to write, whose suffix says the format.

    Raises:
        UserError: the input has a name both with and without `predicted_`.
    """
    names = ["label"]
    if len(labels) > 1:
        is_csv = out.suffix.lower() == ".csv"
        every = [f"p({label})" for label in labels] if is_csv else ["probabilities"]
        names += ["probability", *every]
    taken = set(columns)
    for name in names:
        if taken.issuperset((name, f"predicted_{name}")):
            raise UserError(
                f"the file to predict has the columns {name!r} and {f'predicted_{name}'!r}, and "
                f"one of them has to be free for {out}; rename one, or remove it"
            )
    return [f"predicted_{name}" if name in taken else name for name in names]


Put = Callable[[Prediction], None]


def _csv(stream: TextIO, columns: Sequence[str], names: Sequence[str], style: CsvStyle) -> Put:
    stream.write(style.head)
    writer = csv.writer(stream, delimiter=style.separator)
    writer.writerow([*columns, *names])

    def put(prediction: Prediction) -> None:
        row, label, probabilities = prediction
        cells = [_cell(row.columns.get(column)) for column in columns]
        shown = [f"{p:.6g}" for p in (max(probabilities), *probabilities)] if probabilities else []
        added = [_cell(label), *shown]
        writer.writerow([*cells, *added, *[""] * (len(names) - len(added))])

    return put


def _json_lines(
    stream: TextIO, labels: Sequence[str], columns: Sequence[str], names: Sequence[str]
) -> Put:
    def put(prediction: Prediction) -> None:
        row, label, probabilities = prediction
        added: list[Any] = [label, None, None]
        if probabilities:
            added[1:] = max(probabilities), dict(zip(labels, probabilities, strict=True))
        values = {**row.columns, **dict(zip(names, added, strict=False))}
        stream.write(_json(values) + "\n")

    return put


def _cell(value: object) -> object:
    """Return a value for a cell of CSV: nothing for null, and JSON for a list or an object."""
    if isinstance(value, list | dict):
        return _json(value)
    return "" if value is None else value


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)  # a time in a Parquet file's list
