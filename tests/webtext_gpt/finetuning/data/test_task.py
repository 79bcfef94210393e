"""Tasks: refused settings, values of a command line, and the tasks under conf/task."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.data.task import Task

CONF = Path(__file__).parents[4] / "conf" / "task"
NAMES = sorted(path.stem for path in CONF.glob("*.yaml"))


Load = Callable[..., Task]


def test_documented_tasks_are_there() -> None:
    """Commands of the documentation name them; further tasks need no entry here."""
    glue = {"sst2", "cola", "mrpc", "rte", "qqp", "mnli", "qnli", "stsb"}
    assert set(NAMES) >= glue | {"ag_news", "imdb", "trec", "file", "pairs"}


@pytest.mark.parametrize("name", NAMES)
def test_every_task_survives_conversion_to_plain_values(name: str, load_task: Load) -> None:
    task = load_task(name)
    assert task.name == name
    plain = task.to_dict()
    assert Task(**yaml.safe_load(yaml.safe_dump(plain))) == task


@pytest.mark.parametrize("name", NAMES)
def test_every_task_takes_local_files_and_their_format(name: str, load_task: Load) -> None:
    task = load_task(
        name, "train=a.csv", "validation=b.csv", "test=c.csv", "separator=;", "quotes=true"
    )
    assert (task.train, task.validation, task.test) == ("a.csv", "b.csv", "c.csv")
    assert (task.separator, task.quotes) == (";", True)
    task = load_task(
        name, "text=a", "label=b", "columns=[a,b]", "encoding=cp1252", "skip_empty=true"
    )
    assert (task.text, task.label, task.columns) == ("a", "b", ("a", "b"))
    task = load_task(name, "hub=mine", "config=c", "revision=r", "splits.validation=dev")
    assert (task.hub, task.splits["validation"]) == ("mine", "dev")


@pytest.mark.parametrize(  # Wang et al. 2019, table 1; Radford et al. 2018, section 3.3
    ("name", "kind", "metrics", "columns", "symmetric"),
    [
        ("cola", "classification", ("matthews", "accuracy"), ("sentence", None), False),
        ("sst2", "classification", ("accuracy",), ("sentence", None), False),
        ("mrpc", "classification", ("f1_positive", "accuracy"), ("sentence1", "sentence2"), True),
        ("stsb", "regression", ("pearson", "spearman"), ("sentence1", "sentence2"), True),
        ("qqp", "classification", ("f1_positive", "accuracy"), ("question1", "question2"), True),
        ("mnli", "classification", ("accuracy",), ("premise", "hypothesis"), False),
        ("qnli", "classification", ("accuracy",), ("question", "sentence"), False),
        ("rte", "classification", ("accuracy",), ("sentence1", "sentence2"), False),
    ],
)
def test_glue_tasks_use_the_metrics_of_their_authors(
    name: str, kind: str, metrics: tuple, columns: tuple, symmetric: bool, load_task: Load
) -> None:
    task = load_task(name)
    assert (task.hub, task.config, task.label) == ("nyu-mll/glue", name, "label")
    assert (task.kind, task.metrics, task.symmetric) == (kind, metrics, symmetric)
    assert (task.text, task.text_pair) == columns
    assert task.splits["train"] == "train"
    assert task.splits["validation"] == ("validation_matched" if name == "mnli" else "validation")


def test_values_of_a_command_line_become_text(load_task: Load) -> None:
    task = load_task("file", "positive=1", "text=0", "label=1", "columns=[0,1]", "metrics=matthews")
    assert (task.positive, task.text, task.columns) == ("1", "0", ("0", "1"))
    assert task.metrics == ("matthews",)
    assert load_task("file", "encoding=latin-1", "config=7").config == "7"
    for spelled, separator in {
        "semicolon": ";",
        "pipe": "|",
        "tab": "\t",
        r"\t": "\t",
        "space": " ",
        ",": ",",
    }.items():
        assert Task(name="a", separator=spelled).separator == separator


@pytest.mark.parametrize(
    ("kind", "metrics"),
    [
        ("classification", ("accuracy",)),
        ("regression", ("pearson", "spearman")),
        ("completion", ("loss", "bleu", "rougeL")),
    ],
)
def test_default_metrics_depend_on_the_kind(
    kind: str, metrics: tuple[str, ...], load_task: Load
) -> None:
    task = load_task("file", f"kind={kind}")
    assert task.metrics == metrics
    assert task == Task(name="file", kind=kind)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"kind": "ranking"},
            "task.kind=ranking must be one of classification, regression, completion",
        ),
        ({"metrics": ["f1"]}, r"task.metrics=\[f1\] must be of accuracy, f1_macro, f1_positive"),
        ({"metrics": []}, r"task.metrics=\[\] must be"),
        (
            {"kind": "regression", "metrics": ["accuracy"]},
            r"task.metrics=\[accuracy\] must be of pearson, spearman",
        ),
        ({"kind": None}, "task.kind=null must be text"),
        ({"kind": ["completion"]}, r"task.kind=\['completion'\] must be text"),
        ({"label": None}, "task.label=null must be text"),
        ({"text": None}, "task.text=null must be text"),
        ({"between": None}, "task.between=null must be text"),
        ({"encoding": None}, "task.encoding=null must be text"),
        ({"encoding": 7}, "task.encoding=7 is not a superset"),
        ({"hub": {"name": "a"}}, "task.hub={'name': 'a'} must be text"),
        ({"columns": 5}, r"task.columns=5 must be a list of names, as \[a,b\]"),
        ({"columns": []}, r"task.columns=\[\] lacks the column of the text, task.text=text"),
        ({"columns": ["a", "label"]}, r"task.columns=\[a,label\] lacks .* task.columns=null"),
        ({"columns": ["text", None]}, "task.columns=null must be text"),
        ({"metrics": 5}, "task.metrics=5 must be a list"),
        ({"splits": "train"}, "task.splits=train must give the hub's name for each split"),
        (
            {"kind": "completion", "metrics": ["pearson"]},
            "must be of loss, bleu, rouge1, rouge2, rouge",
        ),
        ({"val_fraction": 0}, "task.val_fraction=0 must be between 0 and 1"),
        ({"val_fraction": 1.0}, "task.val_fraction=1.0"),
        ({"val_fraction": "tenth"}, "task.val_fraction=tenth must be a number"),
        ({"symmetric": True}, "task.symmetric=true needs .* text_pair"),
        ({"symmetric": "yes"}, "task.symmetric=yes must be true or false"),
        ({"quotes": "none"}, "task.quotes=none must be true or false"),
        (
            {"kind": "completion", "metrics": ["loss"], "text_pair": "b"},
            "task.text_pair=b cannot be used",
        ),
        (
            {"kind": "regression", "metrics": ["pearson"], "positive": "x"},
            "task.positive cannot be used",
        ),
        ({"splits": {"dev": "validation"}}, "task.splits.dev=validation"),
        ({"splits": {"test": 3}}, "task.splits.test=3"),
        ({"separator": "::"}, "task.separator='::' must be one character"),
        ({"encoding": "utf-17"}, "task.encoding=utf-17"),
        ({"text_pair": "text"}, "task.text=text, task.text_pair=text .* must be different columns"),
        ({"on_error": "ignore"}, "task.on_error=ignore must be strict or replace"),
        ({"extra_cells": True}, "task.extra_cells=True must be refuse or drop"),
        ({"class_weights": "equal"}, "task.class_weights=equal must be null or balanced"),
        (
            {"kind": "regression", "class_weights": "balanced"},
            "task.class_weights cannot be used with task.kind=regression",
        ),
        (
            {"kind": "completion", "skip_labels": ["-"]},
            "task.skip_labels cannot be used with task.kind=completion",
        ),
        ({"label": "text"}, "must be different columns"),
        ({"columns": ["a", "a"]}, r"task.columns=\[a,a\] has a name twice"),
    ],
)
def test_invalid_tasks_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Task(name="mine", **values)


def test_a_kind_of_earlier_versions_is_renamed() -> None:
    """Checkpoints and configurations from before may hold `pairs` for `completion`."""
    task = Task(name="mine", kind="pairs", metrics=("loss",))
    assert task == Task(name="mine", kind="completion", metrics=("loss",))
    assert task.to_dict()["kind"] == "completion"
    assert Task(name="mine", kind="pairs").metrics == ("loss", "bleu", "rougeL")
