"""Predictions of a saved classifier: logits of texts, and files of labels."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
import torch
from torch import Tensor

from webtext_gpt.errors import UserError
from webtext_gpt.files import replaced
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
    label: str | float
    """The most probable class, or a regression's predicted number."""
    probabilities: list[float]
    """Probabilities of all classes; empty for a regression."""


def predict(classifier: TextClassifier, rows: Iterable[TextRow]) -> Iterator[Prediction]:
    """Yield the prediction for each row, in order; `CHUNK` rows are held in memory at a time."""
    rows = iter(rows)
    while chunk := list(islice(rows, CHUNK)):
        seconds = [second or "" for _, _, second in chunk] if chunk[0][2] is not None else None
        logits = classifier.logits([text for _, text, _ in chunk], seconds)
        if len(classifier.labels) == 1:
            for row, value in zip(chunk, logits[:, 0].tolist(), strict=True):
                yield Prediction(row, value, [])
            continue
        every = logits.softmax(dim=1)
        for row, probabilities, best in zip(
            chunk, every.tolist(), every.argmax(dim=1).tolist(), strict=True
        ):
            yield Prediction(row, classifier.labels[best], probabilities)


def predict_file(classifier: TextClassifier, rows: Iterable[TextRow], out: Path) -> int:
    """Write the label, its probability and all classes' probabilities of each row to a file.

    Args:
        classifier: see `TextClassifier`.
        rows: rows to label, in the order of the output.
        out: a `.csv` or `.jsonl` file, which appears only once it is complete.

    Returns:
        The number of rows.

    Raises:
        UserError: see `check_out`; or there are no rows, or one cannot be read.
    """
    check_out(out)
    write = _WRITERS[out.suffix.lower()]
    count = 0
    with replaced(out) as partial:
        with (
            partial.open("w", encoding="utf-8", newline="") as stream,
            progress_bar("predicting", unit="rows") as bar,
        ):
            put = write(stream, classifier.labels)
            for prediction in predict(classifier, rows):
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
    if out.suffix.lower() not in _WRITERS:
        raise UserError(f"out={out} must end in .csv or .jsonl")
    if out.exists():
        raise UserError(f"out={out} exists; remove it or name another file")
    check_output_file(out, "out")


Put = Callable[[Prediction], None]


def _csv(stream: TextIO, labels: Sequence[str]) -> Put:
    writer = csv.writer(stream)
    header_written = False

    def put(prediction: Prediction) -> None:
        nonlocal header_written
        (_, *texts), label, probabilities = prediction
        cells = [text for text in texts if text is not None]
        if not header_written:
            names = ["text", "text_pair"][: len(cells)]
            columns = ["probability", *(f"p({name})" for name in labels)] if probabilities else []
            writer.writerow([*names, "label", *columns])
            header_written = True
        shown = [f"{p:.6g}" for p in (max(probabilities), *probabilities)] if probabilities else []
        writer.writerow([*cells, label, *shown])

    return put


def _json_lines(stream: TextIO, labels: Sequence[str]) -> Put:
    def put(prediction: Prediction) -> None:
        (_, text, second), label, probabilities = prediction
        row: dict[str, object] = {"text": text}
        if second is not None:
            row["text_pair"] = second
        row["label"] = label
        if probabilities:
            row["probability"] = max(probabilities)
            row["probabilities"] = dict(zip(labels, probabilities, strict=True))
        stream.write(json.dumps(row, ensure_ascii=False) + "\n")

    return put


_WRITERS = {".csv": _csv, ".jsonl": _json_lines}
