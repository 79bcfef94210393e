"""Labels of every type: class names, numbers, and cells that are neither."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.data.examples import read_file
from webtext_gpt.finetuning.data.labels import balanced_weights, encode_labels
from webtext_gpt.finetuning.data.splits import check_labels, label_names
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
    with pytest.raises(UserError, match="b.tsv has no label in 1 row"):
        read_file(task, write("b.tsv", "text\tlabel\na\t:manner\n"))


@pytest.mark.parametrize("value", [None, "", "  ", float("nan")])
def test_a_missing_label_is_located(write: Write, value: object) -> None:
    present = 1.0 if isinstance(value, float) else "1"
    rows = [{"text": "a", "label": present}, {"text": "b", "label": value}]
    for task in (TASK, NUMBERS):
        with pytest.raises(
            UserError, match=r"of 2 rows, 1 has no label, 'label' is empty \(row 1\)"
        ):
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
    cells = ["1.0", " 2.00 ", "-3.0", "1.", "v1.0", "1.0000e+00", "2e0", "1.5 stars", "1.2.3"]
    file = write("a.csv", "text,label\n" + "".join(f"a,{cell}\n" for cell in cells))
    names = ["1", "2", "-3", "1.", "v1.0", "1", "2", "1.5 stars", "1.2.3"]
    assert read_file(TASK, file).labels == names
    task = Task(name="mine", label_until=":")
    assert read_file(task, write("b.csv", "text,label\na,1.0:x\n")).labels == ["1"]


@pytest.mark.parametrize("cell", ["0.5", "3.2", "1.0e-1", " -0.25 ", ".5", "1e-3", "2.5E0"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "text.jsonl", "a.jsonl", "a.parquet"])
def test_fractions_name_no_class_in_any_format(write: Write, name: str, cell: str) -> None:
    """Formats without types write a number as text, so a fraction is refused as text too."""
    rows: list[dict] | str = [{"text": "a", "label": 1.0}, {"text": "b", "label": float(cell)}]
    if name == "text.jsonl":
        rows = [{"text": "a", "label": "1"}, {"text": "b", "label": cell}]
    elif name in ("a.csv", "a.tsv"):
        separator = "," if name == "a.csv" else "\t"
        rows = f"text{separator}label\na{separator}1\nb{separator}{cell}\n"
    place = {"csv": "line 3", "tsv": "line 3", "jsonl": "line 2", "parquet": "row 1"}
    message = f"{name}, {place[name.split('.')[1]]}: 'label' is .*task.kind=regression"
    with pytest.raises(UserError, match=message):
        read_file(TASK, write(name, rows))
    read_file(NUMBERS, write(name, rows))


def test_fractional_scores_are_refused_as_classes(cases: Path) -> None:
    columns = {"text": "sentence1", "text_pair": "sentence2", "label": "score"}
    file = cases / "finetuning" / "fractional_labels.tsv"
    with pytest.raises(UserError, match="line 2: 'score' is '0.2', .*task.kind=regression"):
        read_file(Task(name="mine", **columns), file)
    cells = [line.split("\t")[2] for line in file.read_text().splitlines()[1:]]
    found = read_file(Task(name="mine", kind="regression", **columns), file)
    assert found.labels == [float(cell) for cell in cells]


def test_decimals_are_numbers(write: Write) -> None:
    def stored(*numbers: str) -> str:
        return write("a.parquet", [{"text": "a", "label": Decimal(number)} for number in numbers])

    assert read_file(TASK, stored("1.00", "-20.00")).labels == ["1", "-20"]
    assert read_file(NUMBERS, stored("1.25", "-20.00")).labels == [1.25, -20.0]
    with pytest.raises(UserError, match=r"row 1: 'label' is Decimal\('0.5'\), .*=regression"):
        read_file(TASK, stored("1.0", "0.5"))


@pytest.mark.parametrize("cell", ["1e39", "-1e39", "3.5e38", "1e400", "inf", "-Infinity", "nan"])
def test_numbers_beyond_float32_are_refused(write: Write, cell: str) -> None:
    files = [write("a.csv", f"text,label\na,1\nb,{cell}\n")]
    if "n" not in cell:
        files.append(
            write("a.jsonl", f'\n{{"text": "a", "label": 1}}\n{{"text": "b", "label": {cell}}}')
        )
    for file in files:
        with pytest.raises(UserError, match="line 3: 'label' is .* needs a finite number"):
            read_file(NUMBERS, file)
    if cell.endswith("39"):
        rows = [{"text": "a", "label": 1.0}, {"text": "b", "label": float(cell)}]
        with pytest.raises(UserError, match="row 1: 'label' is .* up to 3.403e.38"):
            read_file(NUMBERS, write("a.parquet", rows))
    assert read_file(NUMBERS, write("b.csv", "text,label\na,3.4e38\n")).labels == [3.4e38]


def test_the_first_number_too_large_is_located(cases: Path) -> None:
    file = cases / "finetuning" / "number_too_large.csv"
    with pytest.raises(UserError, match="line 2: 'label' is '1e39', .* largest that float32"):
        read_file(NUMBERS, file)


@pytest.mark.parametrize("cell", ["1_000", "0x10", "\uff11", "1,5", "12 %"])
def test_other_spellings_of_numbers_are_refused(write: Write, cell: str) -> None:
    file = write("a.tsv", f"text\tlabel\na\t{cell}\n")
    with pytest.raises(UserError, match="needs a finite number") as caught:
        read_file(NUMBERS, file)
    assert ("task.decimal=comma" in str(caught.value)) == (cell == "1,5")


def test_a_decimal_comma(write: Write) -> None:
    file = write("a.csv", "text;label\na;1,5\nb;-2\n")
    options = {"decimal": "comma", "separator": ";"}
    assert read_file(Task(name="mine", kind="regression", **options), file).labels == [1.5, -2.0]
    with pytest.raises(UserError, match="line 2: 'label' is '1,5', .*task.kind=regression"):
        read_file(Task(name="mine", **options), file)
    whole = write("b.csv", "text;label\na;1,0\nb;2\n")
    assert read_file(Task(name="mine", **options), whole).labels == ["1", "2"]
    with pytest.raises(UserError, match="'1.500'"):  # one and a half, or fifteen hundred
        read_file(
            Task(name="mine", kind="regression", **options), write("c.csv", "text;label\na;1.500\n")
        )


def test_true_and_false_are_the_same_in_every_format(write: Write) -> None:
    rows = [{"text": "a", "label": True}, {"text": "b", "label": False}]
    files = [write("a.jsonl", rows), write("a.parquet", rows)]
    files += [
        write(f"{true}.csv", f"text,label\na,{true}\nb,{false}\n")
        for true, false in (("true", "false"), ("True", "False"), ("TRUE", "FALSE"))
    ]
    for trained in files:
        names = label_names(read_file(TASK, trained), TASK)
        for file in files:
            examples = read_file(TASK, file)
            check_labels(examples, names, TASK)
            targets = encode_labels(examples.labels, names)
            assert [names[target].lower() for target in targets] == ["true", "false"]
    mixed = read_file(TASK, write("mixed.csv", "text,label\na,True\nb,false\nc,true\nd,FALSE\n"))
    names = label_names(mixed, TASK)
    assert names == ("FALSE", "True")
    assert encode_labels(mixed.labels, names).tolist() == [1, 0, 1, 0]


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    targets = np.array([0] * 7 + [1] * 2 + [2])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=targets)
    np.testing.assert_allclose(balanced_weights(targets, 3), expected, rtol=1e-6)
