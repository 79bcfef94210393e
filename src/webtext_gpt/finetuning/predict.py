"""A saved classifier at work: logits of texts, and whole files of predictions."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from torch import Tensor

from webtext_gpt.errors import UserError
from webtext_gpt.files import replaced
from webtext_gpt.finetuning.data.datamodule import pad_right
from webtext_gpt.finetuning.data.sequences import encode_texts
from webtext_gpt.model import GPTClassifier
from webtext_gpt.progress import progress_bar
from webtext_gpt.tokenizer import Tokenizer

CHUNK = 1024
"""Rows that are read, sorted by length, and written together."""

Text = tuple[str, str, str | None]
"""Place, text, and the second text of a pair."""


class TextClassifier:
    """A classifier with its tokenizer.

    Args:
        model: in evaluation mode, where it is to run.
        tokenizer: the model's.
        batch_tokens: most tokens, padding included, of one forward pass.

    Attributes:
        truncated: texts so far that did not fit into the context and lost their end.
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
        """Of the classes, in the order of the logits."""
        return self.model.config.labels

    @torch.inference_mode()
    def logits(self, texts: Sequence[str], seconds: Sequence[str] | None = None) -> Tensor:
        """`(n, n_labels)` logits in fp32 on the CPU; what is beside a text changes nothing.

        Args:
            texts: one a row.
            seconds: the second texts of pairs.

        Raises:
            UserError: the classifier reads pairs and these are none, or the other way about.
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
            some = [encoded.tokens[row] for row in rows]
            if not some[-1].size:  # the longest: there is nothing to read in any of them
                some = [np.array([config.pad_token_id])] * len(rows)
            tokens, lengths = pad_right(some, config.pad_token_id)
            lengths = lengths.clamp(min=1)
            result[rows] = self.model(tokens.to(device), lengths.to(device)).float().cpu()
        if not result.isfinite().all():
            raise UserError("the classifier's weights are damaged: it gives values not finite")
        return result

    def _batches(self, lengths: list[int]) -> Iterator[list[int]]:
        """Rows by length, as many together as `batch_tokens` allows."""
        batch: list[int] = []
        for row in sorted(range(len(lengths)), key=lengths.__getitem__):
            if batch and lengths[row] * (len(batch) + 1) > self.batch_tokens:
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch


def predict(
    classifier: TextClassifier, texts: Iterable[Text]
) -> Iterator[tuple[Text, str | float, list[float]]]:
    """Yield each row with its label, or its number, and the probabilities of all labels.

    In the order of the rows, of which few are held at a time.
    """
    texts = iter(texts)
    while rows := list(islice(texts, CHUNK)):
        first = [text for _, text, _ in rows]
        paired = rows[0][2] is not None
        logits = classifier.logits(
            first, [second or "" for _, _, second in rows] if paired else None
        )
        if len(classifier.labels) == 1:
            for row, value in zip(rows, logits[:, 0].tolist(), strict=True):
                yield row, value, []
            continue
        every = logits.softmax(dim=1)
        for row, of_row, best in zip(
            rows, every.tolist(), every.argmax(dim=1).tolist(), strict=True
        ):
            yield row, classifier.labels[best], of_row


def predict_file(classifier: TextClassifier, texts: Iterable[Text], out: Path) -> int:
    """Write a row for each text: its label, that one's probability, and all labels' probabilities.

    Args:
        classifier: see `TextClassifier`.
        texts: in the order of the output.
        out: ends in `.csv` or `.jsonl`; nothing is seen under this name before it is whole.

    Returns:
        The number of rows.

    Raises:
        UserError: see `check_out`, or a text cannot be read.
    """
    check_out(out)
    write = _WRITERS[out.suffix.lower()]
    count = 0
    out.parent.mkdir(parents=True, exist_ok=True)
    with replaced(out) as partial:
        with (
            partial.open("w", encoding="utf-8", newline="") as stream,
            progress_bar("predicting", unit="rows") as bar,
        ):
            put = write(stream, classifier.labels)
            for text, label, probabilities in predict(classifier, texts):
                put(text, label, probabilities)
                count += 1
                bar.update(1)
        if not count:
            raise UserError("there are no rows to predict")
    return count


def check_out(out: Path) -> None:
    """Refuse a file that predictions are not to be written to.

    Raises:
        UserError: its ending says no format, or it is there.
    """
    if out.suffix.lower() not in _WRITERS:
        raise UserError(f"out={out} must end in .csv or .jsonl")
    if out.exists():
        raise UserError(f"out={out} exists; remove it or name another file")


Put = Callable[[Text, str | float, list[float]], Any]


def _csv(stream: TextIO, labels: Sequence[str]) -> Put:
    writer = csv.writer(stream)
    header_written = False

    def put(text: Text, label: str | float, probabilities: list[float]) -> None:
        nonlocal header_written
        texts = [t for t in text[1:] if t is not None]
        if not header_written:
            names = ["text", "text_pair"][: len(texts)]
            of_labels = ["probability", *(f"p({name})" for name in labels)]
            writer.writerow([*names, "label", *(of_labels if probabilities else [])])
            header_written = True
        shown = [f"{p:.6g}" for p in (max(probabilities), *probabilities)] if probabilities else []
        writer.writerow([*texts, label, *shown])

    return put


def _json_lines(stream: TextIO, labels: Sequence[str]) -> Put:
    def put(text: Text, label: str | float, probabilities: list[float]) -> None:
        row: dict[str, Any] = {"text": text[1]}
        if text[2] is not None:
            row["text_pair"] = text[2]
        row["label"] = label
        if probabilities:
            row["probability"] = max(probabilities)
            row["probabilities"] = dict(zip(labels, probabilities, strict=True))
        stream.write(json.dumps(row, ensure_ascii=False) + "\n")

    return put


_WRITERS = {".csv": _csv, ".jsonl": _json_lines}
