"""Settings of a fine-tuning task: `task.KEY`. The choices of `task=` are in conf/task."""

from typing import Annotated, Literal

from webtext_gpt.settings.base import Settings, setting
from webtext_gpt.settings.kinds import (
    Number,
    OneOf,
    PathText,
    Switch,
    Text,
)
from webtext_gpt.settings.lists import Listed, Named

Column = Text("the name of a column")
METRICS = (
    *("accuracy", "f1_macro", "f1_positive", "matthews"),
    *("pearson", "spearman"),
    *("loss", "bleu", "rouge1", "rouge2", "rougeL"),
)


class Task(Settings):
    """One dataset of texts with labels, or of prompts with completions.

    Without `task=NAME`, the keys change the task of a saved classifier.
    """

    target: Literal["webtext_gpt.finetuning.data.task.Task"] | None = setting(
        None, alias="_target_"
    )
    name: Annotated[str, Text("a name")] = setting("file", "name of the task, for reports")
    kind: Annotated[
        str,
        OneOf(("classification", "regression", "completion"), instead={"pairs": "give completion"}),
    ] = setting("classification", "what is learned: classes, one number, or completions of prompts")
    hub: Annotated[str | None, PathText(what="a dataset", null="none")] = setting(
        None, "dataset that the `datasets` library loads: a hub name or a folder"
    )
    config: Annotated[str | None, Text(null="the only one")] = setting(
        None, "the dataset's configuration on the hub"
    )
    revision: Annotated[str | None, Text(null="the newest")] = setting(
        None, "the dataset's version on the hub"
    )
    splits: Annotated[
        dict[str, str | None],
        Named(Text("the hub's name", null="none"), names=("train", "validation", "test")),
    ] = setting(
        lambda: {"train": "train", "validation": None, "test": None},
        "the hub's name of each split",
    )
    train: Annotated[str | None, PathText(null="from the hub", remote=True)] = setting(
        None,
        "file of training rows, instead of the hub: CSV, TSV, JSONL or Parquet by its suffix",
        common=True,
    )
    validation: Annotated[
        str | None, PathText(null="with train=FILE, val_fraction of the training rows", remote=True)
    ] = setting(None, "file of rows on which the best checkpoint is chosen", common=True)
    test: Annotated[str | None, PathText(null="none", remote=True)] = setting(
        None, "file of rows that are scored once, after training", common=True
    )
    text: Annotated[str, Column] = setting("text", "column of the text", common=True)
    text_pair: Annotated[str | None, Text("the name of a column", null="single texts")] = setting(
        None, "column of the second text, if texts come in pairs"
    )
    label: Annotated[str, Column] = setting(
        "label",
        "column of the label: text or whole numbers; any number for a regression",
        common=True,
    )
    label_until: Annotated[str | None, Text(null="the whole cell")] = setting(
        None, "the label ends before this mark, such as the colon in DESC:manner"
    )
    columns: Annotated[list[str] | None, Listed(Column, null="the file's header")] = setting(
        None, "column names of files without a header"
    )
    separator: Annotated[str | None, Text(null="by the file's suffix")] = setting(
        None, "separator of cells: a character, or tab, space, comma, semicolon or pipe"
    )
    quotes: Annotated[bool | None, Switch(null="unless separated by tabs or spaces")] = setting(
        None, "whether cells may be quoted"
    )
    encoding: Annotated[str, Text("the name of an encoding")] = setting(
        "utf-8",
        "encoding of CSV, TSV and other delimited files without a byte order mark: utf-8, cp1252, "
        "latin-1, utf-16 or another",
    )
    on_error: Annotated[str, OneOf(("strict", "replace"))] = setting(
        "strict",
        "bytes that are not in the encoding: strict refuses them, replace reads U+FFFD and counts "
        "them",
    )
    extra_cells: Annotated[str, OneOf(("refuse", "drop"))] = setting(
        "refuse", "cells after a row's last column: refuse them, or drop and count them"
    )
    decimal: Annotated[str, OneOf(("point", "comma"))] = setting(
        "point", "decimal sign of numbers in delimited files and other text"
    )
    skip_labels: Annotated[
        list[str] | None, Listed(Text("a label"), null="no rows are left out")
    ] = setting(None, "classes whose rows are left out, such as [-] for SNLI")
    class_weights: Annotated[str | None, OneOf(("balanced",), null="every row weighs the same")] = (
        setting(
            None,
            "weights of the classes in the training loss; balanced: rows / (classes x rows of the "
            "class)",
        )
    )
    symmetric: Annotated[bool, Switch()] = setting(
        False, "run both orders of a pair and add their states, as GPT-1 does for similarity"
    )
    skip_empty: Annotated[bool, Switch()] = setting(
        False, "skip rows with an empty text or label; otherwise they are an error"
    )
    metrics: Annotated[list[str] | None, Listed(OneOf(METRICS), null="the kind's defaults")] = (
        setting(
            None,
            "metrics; the first chooses the best checkpoint. classification: accuracy f1_macro "
            "f1_positive matthews; regression: pearson spearman; completion: loss (always first) "
            "bleu rouge1 rouge2 rougeL",
        )
    )
    positive: Annotated[str | None, Text("a label", null="the last of two")] = setting(
        None, "class that f1_positive measures"
    )
    class_names: Annotated[dict[str, str], Named(Text("a name"))] = setting(
        dict, "names of classes for reports, by label: {0: negative, 1: positive}"
    )
    val_fraction: Annotated[float, Number(above=0, below=1)] = setting(
        0.1,
        "without a validation set: fraction of the training rows to hold out, by a hash of their "
        "text",
    )
    between: Annotated[str, Text(empty=True)] = setting(
        "\n", r"text between a prompt and its completion; \n, \t and \\ are read"
    )
