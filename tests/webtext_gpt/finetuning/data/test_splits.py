"""A task's training, validation and test sets, held-out rows, and the order of classes."""

from collections.abc import Callable

import pytest

from webtext_gpt.data.prepare import held_out
from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.data.examples import Examples
from webtext_gpt.finetuning.data.splits import check_labels, label_names, overlap, read_splits
from webtext_gpt.finetuning.data.task import Task

TASK = Task(name="mine")
NUMBERS = Task(name="mine", kind="regression", metrics=("pearson",))

Write = Callable[..., str]


def _examples(texts: list[str], labels: list[str], seconds: list[str] | None = None) -> Examples:
    return Examples(texts, seconds, labels, [f"line {n}" for n in range(len(texts))])


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["10", "9", "-1", "9"], ("-1", "9", "10")),
        (["b", "10", "a"], ("10", "a", "b")),
        (["1.5", "0", "10"], ("0", "1.5", "10")),
    ],
)
def test_the_order_of_labels(labels: list[str], names: tuple[str, ...]) -> None:
    assert label_names(_examples(["t"] * len(labels), labels), TASK) == names


def test_unusable_labels_are_refused() -> None:
    train = _examples(["a", "b"], ["yes", "yes"])
    with pytest.raises(UserError, match="2 rows of training, all with the label 'yes'"):
        label_names(train, TASK)
    with pytest.raises(UserError, match="task.positive=true is none of the labels no, yes"):
        label_names(_examples(["a", "b"], ["yes", "no"]), Task(name="mine", positive="true"))
    check_labels(train, ("no", "yes"), TASK)
    with pytest.raises(UserError, match="line 1: the label 'maybe' .*: no, yes"):
        check_labels(_examples(["a", "b"], ["no", "maybe"]), ("no", "yes"), TASK)
    assert label_names(Examples(["a"], None, [0.5], ["line 1"]), NUMBERS) == ("label",)


def test_overlap_ignores_case_spaces_and_labels() -> None:
    train = _examples(["The  Cat\nsat", "a dog", "é"], ["1", "0", "1"])
    other = _examples(["a cat", " the cat sat ", "A DOG", "É"], ["1", "1", "1", "0"])
    assert overlap(train, other) == [1, 2, 3]
    train = _examples(["a", "c"], ["1", "0"], seconds=["b", "d"])
    other = _examples(["a", "a", "b"], ["1", "0", "1"], seconds=["d", "B", "a"])
    assert overlap(train, other) == [1]


def test_local_files_replace_the_hubs_splits(write: Write, hub: str) -> None:
    rows = [{"text": f"text {n}", "label": n % 2} for n in range(400)]
    files = {"train": write("train.jsonl", rows), "test": write("test.jsonl", rows[:3])}
    splits = {"train": "train", "validation": "validation", "test": "test"}
    train, validation, test = read_splits(Task(name="mine", hub=hub, splits=splits, **files))
    assert test is not None
    assert test.texts == ["text 0", "text 1", "text 2"]
    assert len(train) + len(validation) == 400
    assert 20 < len(validation) < 60  # 40 expected, standard deviation 6
    files.pop("test")
    assert read_splits(Task(name="mine", hub=hub, splits=splits, **files))[2] is None
    files["validation"] = write("validation.csv", "text,label\nv,1\n")
    train, validation, _ = read_splits(Task(name="mine", hub=hub, splits=splits, **files))
    assert (len(train), validation.texts) == (400, ["v"])


def test_rows_held_out_depend_only_on_their_text(write: Write) -> None:
    rows = [{"text": f"Text  {n % 200}", "label": n % 2} for n in range(400)]
    rows += [{"text": f"text {n} ", "label": 0} for n in range(200)]
    task = Task(name="mine", train=write("a.jsonl", rows), val_fraction=0.25)
    train, validation, _ = read_splits(task)
    assert overlap(train, validation) == []
    assert len(train) + len(validation) == 600
    assert 100 < len(validation) < 200  # 150 expected of 200 texts, each thrice
    again = Task(name="mine", train=write("b.jsonl", rows[::-1]), val_fraction=0.25)
    assert sorted(read_splits(again)[1].texts) == sorted(validation.texts)
    few = Task(name="mine", train=write("c.jsonl", rows[:2]))
    with pytest.raises(UserError, match="of 2 rows .*task.val_fraction=0.1; give task.validation"):
        read_splits(few)


def test_no_class_is_held_out_completely(write: Write) -> None:
    """Six classes of one row among two of 100: at 0.5, some of the six are drawn."""
    rows = [{"text": f"text {n}", "label": "ab"[n % 2]} for n in range(200)]
    rows += [{"text": f"rare {n}", "label": f"rare {n}"} for n in range(6)]
    assert any(held_out(f"rare {n}", 0.5) for n in range(6))
    task = Task(name="mine", train=write("a.jsonl", rows), val_fraction=0.5)
    train, validation, _ = read_splits(task)
    assert set(train.labels) == {"a", "b", *(f"rare {n}" for n in range(6))}
    assert set(validation.labels) == {"a", "b"}
    assert 60 < len(validation) < 140
    check_labels(validation, label_names(train, task), task)


def test_rows_of_one_text_stay_together_with_a_rare_class(write: Write) -> None:
    drawn = next(f"text {n}" for n in range(100) if held_out(f"text {n}", 0.5))
    rows = [{"text": f"row {n}", "label": "ab"[n % 2]} for n in range(100)]
    rows += [{"text": drawn, "label": "a"}, {"text": drawn.upper(), "label": "rare"}]
    train, validation, _ = read_splits(
        Task(name="mine", train=write("a.jsonl", rows), val_fraction=0.5)
    )
    assert {drawn, drawn.upper()} <= set(train.texts)
    assert overlap(train, validation) == []


def test_a_single_class_is_reported_for_the_complete_file(write: Write) -> None:
    file = write("a.csv", "text,label\n" + "".join(f"text {n},a\n" for n in range(40)))
    with pytest.raises(UserError, match="40 rows of training, all with the label 'a'"):
        read_splits(Task(name="mine", train=file))


def test_f1_positive_needs_a_positive_class() -> None:
    task = Task(name="mine", metrics=("f1_positive",))
    with pytest.raises(
        UserError, match="f1_positive measures one class, but there are 3; .*positive"
    ):
        label_names(_examples(["t"] * 3, ["a", "b", "c"]), task)
    assert label_names(_examples(["t"] * 2, ["a", "b"]), task) == ("a", "b")


def test_an_unrecognized_header_causes_a_warning(
    write: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = "".join(f"text {n}\t{'ab'[n % 2]}\n" for n in range(100))
    file = write("a.tsv", f"headline\tcategory\n{rows}")
    task = Task(name="mine", train=file, columns=("text", "label"))
    assert "category" in read_splits(task)[0].labels
    out = capsys.readouterr().out
    assert f"warning: {file}, line 1: no other row has the label 'category'" in out
    monkeypatch.setenv("LOCAL_RANK", "1")
    read_splits(task)
    assert capsys.readouterr().out == ""
    monkeypatch.delenv("LOCAL_RANK")
    read_splits(Task(name="mine", train=write("b.tsv", rows), columns=("text", "label")))
    read_splits(Task(name="mine", train=write("c.tsv", f"text\tlabel\nx\tc\n{rows}")))
    assert capsys.readouterr().out == ""


def test_a_task_without_data_is_refused() -> None:
    with pytest.raises(UserError, match="task=mine has no train rows: give a file, task.train="):
        read_splits(TASK)


def test_the_hubs_classes_have_their_names_and_order(hub: str) -> None:
    task = Task(name="mine", hub=hub, splits={"train": "train", "validation": "validation"})
    train, validation, test = read_splits(task)
    assert test is None
    assert train.labels[:4] == ["better", "worse", "same", "better"]
    assert (len(train), validation.texts) == (100, ["validation 0", "validation 1"])
    assert validation.places[1] == f"{hub}, split validation, row 1"
    assert label_names(train, task) == ("worse", "same", "better")
    part, rest, _ = read_splits(Task(name="mine", hub=hub))
    assert len(part) + len(rest) == 100
    assert label_names(part, task) == ("worse", "same", "better")
