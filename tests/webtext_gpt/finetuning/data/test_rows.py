"""Rows of files and of the hub: endings, columns, and what is damaged or missing."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.data.examples import read_file
from webtext_gpt.finetuning.data.splits import read_splits
from webtext_gpt.finetuning.data.task import Task

TASK = Task(name="mine")

Write = Callable[..., str]


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet", "a.csv"])
def test_a_missing_column_lists_those_present(write: Write, name: str) -> None:
    rows = [{"review": "a", "label": "1"}]
    file = write(name, "review,label\na,1\n" if name == "a.csv" else rows)
    with pytest.raises(
        UserError, match="'text'; its .*s are 'review', 'label'; set task.text=...$"
    ):
        read_file(TASK, file)
    assert read_file(Task(name="mine", text="review"), file).texts == ["a"]


def test_the_suffix_decides_the_format(write: Write, tmp_path: Path) -> None:
    file = write("a.data", "text|label\na|1\n")
    with pytest.raises(UserError, match=r"CSV.*TSV.*JSONL.*Parquet.*task.separator"):
        read_file(TASK, file)
    assert read_file(Task(name="mine", separator="|"), file).texts == ["a"]
    with pytest.raises(UserError, match="b.csv does not exist"):
        read_file(TASK, tmp_path / "b.csv")
    with pytest.raises(UserError, match="is a folder"):
        read_file(TASK, tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            '{"text": "a", "label": ' + "1" * 5000 + "}",
            "line 1: 'label' is an integer of more than 4,300 digits",
        ),
        ('{"text": "a", "label": ' + "[" * 200_000 + "}", "line 1 is JSON nested too deeply"),
        ('{"text": "a", "label": "\\ud800"}', "line 1: character 0 of 'label' is half of a surr"),
    ],
)
def test_json_beyond_pythons_limits_is_refused(write: Write, line: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_file(TASK, write("a.jsonl", line + "\n"))


def test_damaged_pages_of_parquet_are_located(write: Write) -> None:
    rows = [{"text": f"text {n}", "label": n} for n in range(2000)]
    file = Path(write("a.parquet", rows))
    content = bytearray(file.read_bytes())
    content[10:400] = b"\xff" * 390  # behind the magic number, before the footer
    file.write_bytes(content)
    with pytest.raises(UserError, match="a.parquet is damaged: rows from 0 on"):
        read_file(TASK, file)


def test_columns_of_the_same_name_in_parquet_are_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["a"])] * 3, names=["text", "label", "text"])
    pa.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a.parquet: 2 columns are named 'text'"):
        read_file(Task(name="mine"), tmp_path / "a.parquet")


def test_columns_that_differ_by_case_are_reported(write: Write, hub: str) -> None:
    for name in ("a.jsonl", "a.parquet"):
        with pytest.raises(
            UserError,
            match=r"did you mean 'Text'\? Its .*s are 'Text', 'label'; set task.text=Text$",
        ):
            read_file(TASK, write(name, [{"Text": "a", "label": "b"}]))
    with pytest.raises(UserError, match=r"did you mean 'text'\? .*; set task.text=text$"):
        read_splits(Task(name="mine", hub=hub, text="Text"))


def test_a_script_of_the_hub_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "mine"
    script.mkdir()
    (script / "mine.py").write_text("")
    with pytest.raises(UserError, match="cannot be loaded: Dataset scripts are no longer support"):
        read_splits(Task(name="mine", hub=str(script)))


def test_a_split_without_published_labels_is_refused(hub: str) -> None:
    task = Task(name="mine", hub=hub, splits={"train": "train", "test": "test"})
    with pytest.raises(UserError, match="split test, row 0: .* -1: this split's labels are not"):
        read_splits(task)


def test_numbers_of_the_hub_are_read(hub: str) -> None:
    task = Task(name="mine", hub=hub, kind="regression", metrics=("pearson",), label="score")
    assert read_splits(task)[0].labels[:2] == [0.5, 0.5]


def test_missing_columns_and_splits_of_the_hub_are_refused(hub: str, tmp_path: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"no column 'body'; its columns are 'text', 'label', 'score'; set task.text=\.\.\.$",
    ):
        read_splits(Task(name="mine", hub=hub, text="body"))
    with pytest.raises(UserError, match="split 'dev' cannot be loaded.*task.train=FILE task.val"):
        read_splits(Task(name="mine", hub=hub, splits={"train": "dev"}))
    with pytest.raises(UserError, match="none: split 'train' cannot be loaded"):
        read_splits(Task(name="mine", hub=str(tmp_path / "none")))
