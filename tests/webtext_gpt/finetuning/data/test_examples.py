"""Labelled examples: labels of every type, empty texts, splits, the hub, and the real data sets."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from webtext_gpt.data.prepare import held_out
from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.data.examples import (
    Examples,
    check_labels,
    iter_texts,
    label_names,
    overlap,
    read_file,
    read_splits,
)
from webtext_gpt.finetuning.data.task import Task

CONF = Path(__file__).parents[4] / "conf"
TASK = Task(name="mine")
NUMBERS = Task(name="mine", kind="regression", metrics=("pearson",))
PAIRS = Task(name="mine", kind="pairs", metrics=("loss",))

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write(name, rows)`: a file of the format that its name says, from rows or as they stand."""

    def _write(name: str, rows: list[dict[str, Any]] | str) -> str:
        file = tmp_path / name
        if isinstance(rows, str):
            file.write_text(rows)
        elif file.suffix == ".parquet":
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
        else:
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(file)

    return _write


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder as `datasets` saves it; labels are numbers of classes in an order of their own."""
    folder = tmp_path_factory.mktemp("hub")
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["worse", "same", "better", "unused"]),
            "score": datasets.Value("float32"),
        }
    )
    for split, labels in {"train": [2, 0, 1, 2] * 25, "validation": [0, 1], "test": [-1]}.items():
        columns = {
            "text": [f"{split} {number}" for number in range(len(labels))],
            "label": labels,
            "score": [0.5] * len(labels),
        }
        dataset = datasets.Dataset.from_dict(columns, features=features)
        dataset.to_parquet(folder / f"{split}.parquet")
    return str(folder)


def load(name: str) -> Task:
    """The task of `conf/task`."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return instantiate(compose("finetune", overrides=[f"task={name}"]).task)


def _examples(texts: list[str], labels: list[str], seconds: list[str] | None = None) -> Examples:
    return Examples(texts, seconds, labels, [f"line {n}" for n in range(len(texts))])


def test_every_format_gives_the_same_examples(write: Write) -> None:
    rows = [{"text": "one", "label": 1}, {"text": "two\nlines", "label": 0}]
    files = [
        write("a.csv", 'text,label\none,1\n"two\nlines",0\n'),
        write("a.jsonl", rows),
        write("a.ndjson", rows),
        write("a.parquet", rows),
    ]
    for file in files:
        found = read_file(TASK, file)
        assert (found.texts, found.labels, found.seconds) == (
            ["one", "two\nlines"],
            ["1", "0"],
            None,
        )
        assert len(found) == 2
        assert all(place.startswith(file) for place in found.places)
    assert read_file(TASK, files[0]).places == [f"{files[0]}, line 2", f"{files[0]}, line 3"]


def test_pairs_of_texts_and_columns_of_other_names(write: Write) -> None:
    task = Task(name="mine", text="premise", text_pair="hypothesis", label="gold")
    found = read_file(task, write("a.tsv", "gold\tpremise\thypothesis\nyes\tA \tB\n"))
    assert (found.texts, found.seconds, found.labels) == (["A "], ["B"], ["yes"])


@pytest.mark.parametrize(
    ("value", "name"),
    [(1, "1"), (-3, "-3"), (True, "True"), ("pos", "pos"), (" pos ", "pos"), (1.0, "1")],
)
def test_labels_become_text(write: Write, value: object, name: str) -> None:
    for file in ("a.jsonl", "a.parquet"):
        assert read_file(TASK, write(file, [{"text": "a", "label": value}])).labels == [name]


def test_a_label_may_end_before_a_mark(write: Write) -> None:
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


def test_completions_are_free_text(write: Write) -> None:
    file = write("a.jsonl", [{"text": "2+2=", "label": " 4\n"}, {"text": "1+1=", "label": "two"}])
    found = read_file(PAIRS, file)
    assert (found.texts, found.labels) == (["2+2=", "1+1="], [" 4\n", "two"])
    assert label_names(found, PAIRS) == ()
    check_labels(found, (), PAIRS)
    with pytest.raises(UserError, match="line 1: 'label' is int, not text"):
        read_file(PAIRS, write("b.jsonl", [{"text": "2+2=", "label": 4}]))


def test_texts_must_be_text(write: Write) -> None:
    with pytest.raises(UserError, match="line 1: 'text' is int, not text"):
        read_file(TASK, write("a.jsonl", [{"text": 5, "label": 1}]))
    assert read_file(TASK, write("a.csv", "text,label\n5,1\n")).texts == ["5"]


def test_empty_texts_are_counted_and_skipped_on_demand(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write("a.csv", 'text,label\na,1\n,1\n" \n",0\n\t,1\n"",0\nb,0\n')
    with pytest.raises(
        UserError,
        match=r"4 of 6 rows of .*a.csv have an empty text \(.*line 3; .*line 4; [^;]*line 6\); set "
        "task.skip_empty=true",
    ):
        read_file(TASK, file)
    found = read_file(Task(name="mine", skip_empty=True), file)
    assert (found.texts, found.labels) == (["a", "b"], ["1", "0"])
    assert [place.rpartition(" ")[2] for place in found.places] == ["2", "8"]
    assert "4 of 6 rows left out" in capsys.readouterr().out


def test_empty_seconds_completions_and_nulls_count_as_empty(write: Write) -> None:
    pair = Task(name="mine", text_pair="second")
    rows = [{"text": "a", "second": " ", "label": 1}, {"text": "a", "second": "b", "label": 0}]
    with pytest.raises(UserError, match="1 of 2 rows"):
        read_file(pair, write("a.jsonl", rows))
    rows = [{"text": None, "label": "1"}, {"text": "a", "label": ""}, {"text": "a", "label": "b"}]
    with pytest.raises(UserError, match="2 of 3 rows"):
        read_file(PAIRS, write("a.parquet", rows))


def test_no_text_at_all(write: Write) -> None:
    with pytest.raises(UserError, match="a.csv has no text in 1 row$"):
        read_file(Task(name="mine", skip_empty=True), write("a.csv", "text,label\n,1\n"))
    with pytest.raises(UserError, match="b.csv has no rows"):
        read_file(TASK, write("b.csv", "text,label\n"))
    with pytest.raises(UserError, match="c.jsonl has no rows"):
        read_file(TASK, write("c.jsonl", ""))


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet", "a.csv"])
def test_a_missing_column_lists_those_present(write: Write, name: str) -> None:
    rows = [{"review": "a", "label": "1"}]
    file = write(name, "review,label\na,1\n" if name == "a.csv" else rows)
    with pytest.raises(UserError, match="'text'.* review, label.*set task.text=text, task.label="):
        read_file(TASK, file)
    assert read_file(Task(name="mine", text="review"), file).texts == ["a"]


def test_endings(write: Write, tmp_path: Path) -> None:
    file = write("a.data", "text|label\na|1\n")
    with pytest.raises(UserError, match=r"CSV.*TSV.*JSONL.*Parquet.*task.separator"):
        read_file(TASK, file)
    assert read_file(Task(name="mine", separator="|"), file).texts == ["a"]
    with pytest.raises(UserError, match="b.csv is not there"):
        read_file(TASK, tmp_path / "b.csv")
    with pytest.raises(UserError, match="is a folder"):
        read_file(TASK, tmp_path)


def test_texts_to_predict_need_no_label_and_may_be_empty(write: Write) -> None:
    file = write("a.csv", 'text\na\n""\nb\n')
    assert list(iter_texts(TASK, file)) == [
        (f"{file}, line 2", "a", None),
        (f"{file}, line 3", "", None),
        (f"{file}, line 4", "b", None),
    ]
    pair = Task(name="mine", text_pair="second")
    rows = [{"text": "a", "second": "b"}, {"text": "c", "second": None}]
    for name in ("a.jsonl", "a.parquet"):
        texts = [texts for _, *texts in iter_texts(pair, write(name, rows))]
        assert texts == [["a", "b"], ["c", ""]]


def test_texts_to_predict_are_a_stream(write: Write) -> None:
    file = write("a.csv", "text\n" + "a\n" * 100_000 + '"open\n')
    assert next(iter_texts(TASK, file)) == (f"{file}, line 2", "a", None)


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


def test_labels_are_refused_where_they_do_not_do() -> None:
    train = _examples(["a", "b"], ["yes", "yes"])
    with pytest.raises(UserError, match="2 rows of training, all with the label 'yes'"):
        label_names(train, TASK)
    with pytest.raises(UserError, match="task.positive=true is none of the labels no, yes"):
        label_names(_examples(["a", "b"], ["yes", "no"]), Task(name="mine", positive="true"))
    check_labels(train, ("no", "yes"), TASK)
    with pytest.raises(UserError, match="line 1: the label 'maybe' .*: no, yes"):
        check_labels(_examples(["a", "b"], ["no", "maybe"]), ("no", "yes"), TASK)
    assert label_names(Examples(["a"], None, [0.5], ["line 1"]), NUMBERS) == ("label",)


def test_overlap_is_of_content() -> None:
    train = _examples(["The  Cat\nsat", "a dog", "é"], ["1", "0", "1"])
    other = _examples(["a cat", " the cat sat ", "A DOG", "É"], ["1", "1", "1", "0"])
    assert overlap(train, other) == [1, 2, 3]
    train = _examples(["a", "c"], ["1", "0"], seconds=["b", "d"])
    other = _examples(["a", "a", "b"], ["1", "0", "1"], seconds=["d", "B", "a"])
    assert overlap(train, other) == [1]


def test_local_files_in_the_place_of_the_hub(write: Write, hub: str) -> None:
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


def test_rows_held_out_depend_on_their_text_alone(write: Write) -> None:
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


def test_no_class_is_held_out_whole(write: Write) -> None:
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


def test_a_single_class_is_said_of_the_whole_file(write: Write) -> None:
    file = write("a.csv", "text,label\n" + "".join(f"text {n},a\n" for n in range(40)))
    with pytest.raises(UserError, match="40 rows of training, all with the label 'a'"):
        read_splits(Task(name="mine", train=file))


def test_f1_of_no_class_cannot_choose() -> None:
    task = Task(name="mine", metrics=("f1_positive",))
    with pytest.raises(UserError, match="f1_positive is of one class, and there are 3; .*positive"):
        label_names(_examples(["t"] * 3, ["a", "b", "c"]), task)
    assert label_names(_examples(["t"] * 2, ["a", "b"]), task) == ("a", "b")


def test_a_header_that_is_not_known_is_warned_of(
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


def test_questions_for_trec_are_whole_lines(write: Write) -> None:
    """With its own settings, and with labels where the separator can tell."""
    task = load("trec")
    file = write("questions.txt", "How far is it ?\nWho ?\n")
    assert [text for _, text, _ in iter_texts(task, file)] == ["How far is it ?", "Who ?"]
    task = Task(name="mine", columns=("text", "label"))
    for content in ("a b\nc\n", "a b\tx\nc\ty\n", "label\ttext\nx\ta b\ny\tc\n"):
        found = [text for _, text, _ in iter_texts(task, write("a.tsv", content))]
        assert found == ["a b", "c"]


def test_whole_numbers_as_text_are_whole_numbers(write: Write) -> None:
    file = write("a.csv", "text,label\na,1.0\nb, 2.00 \nc,-3.0\nd,1.5\ne,1.\nf,v1.0\n")
    assert read_file(TASK, file).labels == ["1", "2", "-3", "1.5", "1.", "v1.0"]
    task = Task(name="mine", label_until=":")
    assert read_file(task, write("b.csv", "text,label\na,1.0:x\n")).labels == ["1"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a", "label": ' + "1" * 5000 + "}", "line 1 is not JSON: .*4300"),
        ('{"text": "a", "label": ' + "[" * 200_000 + "}", "line 1 is JSON nested too deeply"),
        ('{"text": "a", "label": "\\ud800"}', "line 1: character 0 of 'label' is half of a surr"),
    ],
)
def test_json_that_python_cannot_hold(write: Write, line: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_file(TASK, write("a.jsonl", line + "\n"))


def test_damaged_pages_of_parquet(write: Write) -> None:
    rows = [{"text": f"text {n}", "label": n} for n in range(2000)]
    file = Path(write("a.parquet", rows))
    content = bytearray(file.read_bytes())
    content[10:400] = b"\xff" * 390  # behind the magic number, before the footer
    file.write_bytes(content)
    with pytest.raises(UserError, match="a.parquet is damaged: rows from 0 on"):
        read_file(TASK, file)


def test_columns_that_differ_by_case_are_said(write: Write, hub: str) -> None:
    for name in ("a.jsonl", "a.parquet"):
        with pytest.raises(UserError, match=r"only Text, label \('text' is spelled 'Text' there\)"):
            read_file(TASK, write(name, [{"Text": "a", "label": "b"}]))
    with pytest.raises(UserError, match="'Text' is spelled 'text' there"):
        read_splits(Task(name="mine", hub=hub, text="Text"))


def test_a_script_of_the_hub_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "mine"
    script.mkdir()
    (script / "mine.py").write_text("")
    with pytest.raises(UserError, match="cannot be loaded: Dataset scripts are no longer support"):
        read_splits(Task(name="mine", hub=str(script)))


def test_nothing_to_read() -> None:
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


def test_a_split_whose_labels_are_not_published(hub: str) -> None:
    task = Task(name="mine", hub=hub, splits={"train": "train", "test": "test"})
    with pytest.raises(UserError, match="split test, row 0: .* -1: this split's labels are not"):
        read_splits(task)


def test_numbers_of_the_hub(hub: str) -> None:
    task = Task(name="mine", hub=hub, kind="regression", metrics=("pearson",), label="score")
    assert read_splits(task)[0].labels[:2] == [0.5, 0.5]


def test_what_the_hub_does_not_have(hub: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no column 'body', only text, label, score; set task.text"):
        read_splits(Task(name="mine", hub=hub, text="body"))
    with pytest.raises(UserError, match="split 'dev' cannot be loaded.*task.train=FILE task.val"):
        read_splits(Task(name="mine", hub=hub, splits={"train": "dev"}))
    with pytest.raises(UserError, match="none: split 'train' cannot be loaded"):
        read_splits(Task(name="mine", hub=str(tmp_path / "none")))


# Rows and classes counted by wc, cut, sort and uniq; texts read in the files.
@pytest.mark.parametrize(
    ("name", "file", "rows", "counts", "first"),
    [
        (
            "sst2",
            "sst2/train.tsv",
            60_614,
            {"0": 26_786, "1": 33_828},
            "when are bears bears and ",
        ),
        ("cola", "cola/out_of_domain_dev.tsv", 516, {"0": 162, "1": 354}, None),
        (
            "trec",
            "trec/TREC.train",
            5452,
            {"ABBR": 86, "DESC": 1162, "ENTY": 1250, "HUM": 1223, "LOC": 835, "NUM": 896},
            "How did serfdom develop in and then leave Russia ?",
        ),
        (
            "ag_news",
            "ag_news/dev.tsv",
            10_001,
            {"Business": 2496, "Sci/Tech": 2538, "Sports": 2458, "World": 2509},
            None,
        ),
    ],
)
def test_real_files_as_they_are_published(
    realdata: Path, name: str, file: str, rows: int, counts: dict[str, int], first: str | None
) -> None:
    path = realdata / "classification" / file
    task = load(name)
    found = read_file(task, path)
    assert len(found) == rows
    assert first is None or found.texts[0] == first
    assert label_names(found, task) == tuple(counts)
    assert {label: found.labels.count(label) for label in counts} == counts
    if name == "trec":
        assert "sisterðcity" in found.texts[65]  # a Latin-1 byte, 0xF0, in line 66
        assert found.places[65] == f"{path}, line 66"
