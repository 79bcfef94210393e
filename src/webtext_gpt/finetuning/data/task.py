"""One downstream dataset: the location of its rows, its columns, and its metrics."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.data.decoding import check_encoding
from webtext_gpt.finetuning.data.delimited import SEPARATOR_NAMES, check_separator
from webtext_gpt.finetuning.metrics import DEFAULT_METRICS, METRICS
from webtext_gpt.settings import number

SPLITS = ("train", "validation", "test")

FORMER_KINDS = {"pairs": "completion"}
"""Names of kinds in checkpoints and configurations of earlier versions."""

TEXTS = ("name", "kind", "text", "label", "encoding", "between")
OPTIONAL_TEXTS = (
    *("hub", "config", "revision", "train", "validation", "test"),
    *("text_pair", "label_until", "separator", "positive"),
)

WORDS: dict[str, tuple[str | None, ...]] = {
    "on_error": ("strict", "replace"),
    "extra_cells": ("refuse", "drop"),
    "decimal": ("point", "comma"),
    "class_weights": (None, "balanced"),
}
"""Keys that take one of a few words."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One downstream dataset: the location of its rows, its columns, and its metrics.

    Local files replace the hub's splits. If `train` is a file, nothing is read from the hub.

    Attributes:
        name: name of the task, for reports.
        kind: `classification`, `regression` (one number), or `completion`, which learns to write
            completions (`label`) of prompts (`text`).
        hub: name for `datasets.load_dataset`, or a folder that it reads.
        config: the dataset's configuration on the hub.
        revision: the dataset's version on the hub.
        splits: hub names of the train, validation and test splits; null for a missing one.
        train: file of training rows.
        validation: file of rows on which the best checkpoint is chosen.
        test: file of rows that are scored once, after training.
        text: column of the text.
        text_pair: column of the second text, if texts come in pairs.
        label: column of the label.
        label_until: mark before which the label ends, such as the colon of `DESC:manner`.
        columns: column names for files without a header.
        separator: separator of cells, or its name in `SEPARATOR_NAMES`; null: by the file's
            suffix.
        quotes: whether cells may be quoted; null: unless the separator is a tab or a space.
        encoding: encoding of delimited files.
        on_error: `strict` refuses bytes that are not in the encoding; `replace` reads U+FFFD.
        extra_cells: `refuse` or `drop` cells after a row's last column.
        decimal: `point` or `comma` in numbers that are text.
        skip_labels: class names whose rows are left out.
        class_weights: `balanced` weighs the loss of a class by the inverse of its frequency; null:
            all rows weigh the same.
        symmetric: run both orders of a pair and add their states (Radford et al. 2018,
            section 3.3).
        skip_empty: skip rows with an empty text or label; otherwise they are an error.
        metrics: names from `METRICS`; the first chooses the best checkpoint. null:
            `DEFAULT_METRICS` of the kind.
        positive: the class whose F1 is `f1_positive`; null: the last of two classes.
        class_names: names of classes for reports, by label.
        val_fraction: fraction of the training rows held out, by a hash of their text, if there is
            neither a file nor a hub split for validation.
        between: text between a prompt and its completion.

    Raises:
        UserError: a value is out of range or does not fit another; the message names the key.
    """

    name: str
    kind: str = "classification"
    hub: str | None = None
    config: str | None = None
    revision: str | None = None
    splits: Mapping[str, str | None] = field(default_factory=lambda: {"train": "train"})
    train: str | None = None
    validation: str | None = None
    test: str | None = None
    text: str = "text"
    text_pair: str | None = None
    label: str = "label"
    label_until: str | None = None
    columns: tuple[str, ...] | None = None
    separator: str | None = None
    quotes: bool | None = None
    encoding: str = "utf-8"
    on_error: str = "strict"
    extra_cells: str = "refuse"
    decimal: str = "point"
    skip_labels: tuple[str, ...] = ()
    class_weights: str | None = None
    symmetric: bool = False
    skip_empty: bool = False
    metrics: tuple[str, ...] = None  # type: ignore[assignment] # set in __post_init__
    positive: str | None = None
    class_names: Mapping[str, str] = field(default_factory=dict)
    val_fraction: float = 0.1
    between: str = "\n"

    def __post_init__(self) -> None:
        self._normalize()
        for key, allowed in {"symmetric": (), "skip_empty": (), "quotes": (None,)}.items():
            value = getattr(self, key)
            if not isinstance(value, bool) and value not in allowed:
                raise UserError(f"task.{key}={value} must be true or false")
        for key, words in WORDS.items():
            if getattr(self, key) not in words:
                said = " or ".join("null" if word is None else word for word in words)
                raise UserError(f"task.{key}={getattr(self, key)} must be {said}")
        self._check_kind()
        self._check_sources()
        if not 0 < number("task.val_fraction", self.val_fraction) < 1:
            raise UserError(f"task.val_fraction={self.val_fraction} must be between 0 and 1")
        check_encoding(self.encoding)
        if self.separator is not None:
            check_separator(self.separator)

    def to_dict(self) -> dict[str, Any]:
        """Return plain keyword arguments that construct an equal task."""
        values = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    def _normalize(self) -> None:
        """Convert YAML and command-line values: numbers become names, lists become tuples."""
        for key in TEXTS + OPTIONAL_TEXTS:
            value = getattr(self, key)
            if value is not None or key in TEXTS:
                object.__setattr__(self, key, _text(key, value))
        object.__setattr__(self, "kind", FORMER_KINDS.get(self.kind, self.kind))
        if self.metrics is None:
            object.__setattr__(self, "metrics", DEFAULT_METRICS.get(self.kind, ()))
        if self.skip_labels is None:
            object.__setattr__(self, "skip_labels", ())
        for key in ("columns", "metrics", "skip_labels"):
            value = getattr(self, key)
            if value is None:
                continue
            values = [value] if isinstance(value, str) else value
            if not isinstance(values, Sequence):
                raise UserError(f"task.{key}={value} must be a list of names, as [a,b]")
            object.__setattr__(self, key, tuple(_text(key, v) for v in values))
        if not isinstance(self.class_names, Mapping | None):
            raise UserError(
                f"task.class_names={self.class_names} must give a name for each label, as "
                "{0: negative, 1: positive}"
            )
        named = {str(k): _text("class_names", v) for k, v in (self.class_names or {}).items()}
        object.__setattr__(self, "class_names", named)
        if not isinstance(self.splits, Mapping | None):
            raise UserError(
                f"task.splits={self.splits} must give the hub's name for each split, as "
                "{train: train, validation: dev, test: null}"
            )
        given = {
            str(split): name for split, name in (self.splits or {}).items() if name is not None
        }
        object.__setattr__(self, "splits", given)
        if self.separator is not None:
            separator = {r"\t": "\t", **SEPARATOR_NAMES}.get(self.separator, self.separator)
            object.__setattr__(self, "separator", separator)

    def _check_kind(self) -> None:
        if self.kind not in METRICS:
            raise UserError(f"task.kind={self.kind} must be one of {', '.join(METRICS)}")
        known = METRICS[self.kind]
        unknown = [metric for metric in self.metrics if metric not in known]
        if unknown or not self.metrics:
            raise UserError(
                f"task.metrics=[{','.join(self.metrics)}] must be of {', '.join(known)} for "
                f"task.kind={self.kind}"
            )
        if self.symmetric and self.text_pair is None:
            raise UserError("task.symmetric=true needs the column of the second text: text_pair")
        if self.kind == "completion" and self.text_pair is not None:
            raise UserError(
                f"task.text_pair={self.text_pair} cannot be used with task.kind=completion: "
                "task.text is the prompt, task.label the completion"
            )
        if self.kind != "classification":
            for key in ("label_until", "positive", "class_names", "class_weights", "skip_labels"):
                if getattr(self, key) not in (None, (), {}):
                    raise UserError(f"task.{key} cannot be used with task.kind={self.kind}")

    def _check_sources(self) -> None:
        for split, name in self.splits.items():
            if split not in SPLITS or not isinstance(name, str):
                raise UserError(
                    f"task.splits.{split}={name} must give the hub's name for one of "
                    f"{', '.join(SPLITS)}"
                )
        used = [c for c in (self.text, self.text_pair, self.label) if c is not None]
        if len(set(used)) < len(used):
            raise UserError(
                f"task.text={self.text}, task.text_pair={self.text_pair} and task.label="
                f"{self.label} must be different columns"
            )
        if self.columns is None:
            return
        if len(set(self.columns)) < len(self.columns):
            raise UserError(f"task.columns=[{','.join(self.columns)}] has a name twice")
        if self.text not in self.columns:
            raise UserError(
                f"task.columns=[{','.join(self.columns)}] lacks the column of the text, task.text="
                f"{self.text}; for files with a header set task.columns=null"
            )


def _text(key: str, value: object) -> str:
    """Return a name as text; YAML may have read it as a number.

    Raises:
        UserError: it is null, or a list or mapping.
    """
    if value is None or not isinstance(value, str | int | float | Path):
        raise UserError(f"task.{key}={'null' if value is None else value} must be text")
    return str(value)
