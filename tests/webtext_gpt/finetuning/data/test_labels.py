"""Labels of every type: class names, numbers, and cells that are neither."""

from collections.abc import Callable

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.data.examples import read_file
from webtext_gpt.finetuning.data.task import Task

TASK = Task(name="mine")
NUMBERS = Task(name="mine", kind="regression", metrics=("pearson",))

Write = Callable[..., str]


@pytest.mark.parametrize(
    ("value", "name"),
    [(1, "1"), (-3, "-3"), (True, "True"), ("pos", "pos"), (" pos ", "pos"), (1.0, "1")],
)
def test_labels_become_text(write: Write, value: object, name: str) -> None:
    for file in ("a.jsonl", "a.parquet"):
        assert read_file(TASK, write(file, [{"text": "a", "label": value}])).labels == [name]


def test_a_label_can_be_cut_at_a_mark(write: Write) -> None:
    task = Task(name="mine", label_until=":")
    file = write("a.tsv", "text\tlabel\na\tDESC:manner:x\nb\tNUM\n")
    assert read_file(task, file).labels == ["DESC", "NUM"]
    with pytest.raises(UserError, match="line 2: the label is missing"):
        read_file(task, write("b.tsv", "text\tlabel\na\t:manner\n"))


@pytest.mark.parametrize("value", [None, "", "  ", float("nan")])
def test_a_missing_label_is_located(write: Write, value: object) -> None:
    present = 1.0 if isinstance(value, float) else "1"
    rows = [{"text": "a", "label": present}, {"text": "b", "label": value}]
    for task in (TASK, NUMBERS):
        with pytest.raises(UserError, match="a.parquet, row 1: the label is missing: 'label'"):
            read_file(task, write("a.parquet", rows))


@pytest.mark.parametrize("value", [1.5, float("inf"), [1], {"a": 1}])
def test_a_label_that_names_no_class(write: Write, value: object) -> None:
    with pytest.raises(UserError, match="a.jsonl, line 1: 'label' is .*task.kind=regression"):
        read_file(TASK, write("a.jsonl", [{"text": "a", "label": value}]))


def test_numbers_of_a_regression(write: Write) -> None:
    found = read_file(NUMBERS, write("a.csv", "text,label\na,3.25\nb,-1e2\nc, 4 \n"))
    assert found.labels == [3.25, -100.0, 4.0]
    rows = [{"text": "a", "label": 3}, {"text": "b", "label": 2.5}]
    assert read_file(NUMBERS, write("a.jsonl", rows)).labels == [3.0, 2.5]


@pytest.mark.parametrize("value", ['"high"', '"nan"', "Infinity", "true", "[1]", "1" + "0" * 400])
def test_a_regression_needs_finite_numbers(write: Write, value: str) -> None:
    file = write("a.jsonl", f'{{"text": "a", "label": 1}}\n{{"text": "b", "label": {value}}}\n')
    with pytest.raises(UserError, match="a.jsonl, line 2: 'label' is .* needs a finite number"):
        read_file(NUMBERS, file)


def test_whole_numbers_as_text_are_whole_numbers(write: Write) -> None:
    file = write("a.csv", "text,label\na,1.0\nb, 2.00 \nc,-3.0\nd,1.5\ne,1.\nf,v1.0\n")
    assert read_file(TASK, file).labels == ["1", "2", "-3", "1.5", "1.", "v1.0"]
    task = Task(name="mine", label_until=":")
    assert read_file(task, write("b.csv", "text,label\na,1.0:x\n")).labels == ["1"]
