"""Labelled examples and texts to predict, in every format, and the real datasets."""

import datetime
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.data.examples import Examples, column_names, iter_texts, read_file
from webtext_gpt.finetuning.data.splits import check_labels, label_names
from webtext_gpt.finetuning.data.task import Task

TASK = Task(name="mine")
COMPLETIONS = Task(name="mine", kind="completion", metrics=("loss",))

Write = Callable[..., str]


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


def test_completions_are_free_text(write: Write) -> None:
    file = write("a.jsonl", [{"text": "2+2=", "label": " 4\n"}, {"text": "1+1=", "label": "two"}])
    found = read_file(COMPLETIONS, file)
    assert (found.texts, found.labels) == (["2+2=", "1+1="], [" 4\n", "two"])
    assert label_names(found, COMPLETIONS) == ()
    check_labels(found, (), COMPLETIONS)
    with pytest.raises(UserError, match="line 1: 'label' is int, not text"):
        read_file(COMPLETIONS, write("b.jsonl", [{"text": "2+2=", "label": 4}]))


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
        match=r"a.csv: of 6 rows, 4 have an empty text \(line 3; line 4; line 6; \.\.\.\); set "
        "task.skip_empty=true",
    ):
        read_file(TASK, file)
    found = read_file(Task(name="mine", skip_empty=True), file)
    assert (found.texts, found.labels) == (["a", "b"], ["1", "0"])
    assert [place.rpartition(" ")[2] for place in found.places] == ["2", "8"]
    assert "a.csv: 4 of 6 rows skipped, with an empty text" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["classification", "regression", "completion"])
def test_empty_texts_and_labels_are_reported_at_once_and_skipped_together(
    kind: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """Line 3 lacks the label, line 4 the text, line 5 both, which counts as a text."""
    file = write("a.csv", "text,team\na,1\nb,\n,1\n,\nc,2\n")
    message = (
        r"a.csv: of 5 rows, 2 have an empty text \(line 4; line 5\) and 1 has no label, 'team' is "
        r"empty \(line 3\); set task.skip_empty=true to skip them$"
    )
    with pytest.raises(UserError, match=message):
        read_file(Task(name="mine", kind=kind, label="team"), file)
    found = read_file(Task(name="mine", kind=kind, label="team", skip_empty=True), file)
    assert (found.texts, found.skipped) == (["a", "c"], 3)
    said = capsys.readouterr().out
    assert "a.csv: 2 of 5 rows skipped, with an empty text\n" in said
    assert "a.csv: 1 of 5 rows skipped, with no label, 'team' is empty\n" in said


def test_empty_seconds_completions_and_nulls_count_as_empty(write: Write) -> None:
    pair = Task(name="mine", text_pair="second")
    rows = [{"text": "a", "second": " ", "label": 1}, {"text": "a", "second": "b", "label": 0}]
    with pytest.raises(UserError, match="of 2 rows, 1 has an empty text"):
        read_file(pair, write("a.jsonl", rows))
    rows = [{"text": None, "label": "1"}, {"text": "a", "label": ""}, {"text": "a", "label": "b"}]
    with pytest.raises(UserError, match="of 3 rows, 1 has an empty text .* and 1 has no label"):
        read_file(COMPLETIONS, write("a.parquet", rows))


def test_files_without_text_are_refused(write: Write) -> None:
    with pytest.raises(UserError, match="a.csv has no text in 1 row$"):
        read_file(Task(name="mine", skip_empty=True), write("a.csv", "text,label\n,1\n"))
    with pytest.raises(UserError, match="a.csv has no label in 2 rows: 'label' is empty$"):
        read_file(Task(name="mine", skip_empty=True), write("a.csv", "text,label\na,\nb,\n"))
    with pytest.raises(UserError, match="a.csv: of 2 rows, 1 has .* and 1 has .*; no row has both"):
        read_file(Task(name="mine", skip_empty=True), write("a.csv", "text,label\na,\n,1\n"))
    with pytest.raises(UserError, match="b.csv has no rows"):
        read_file(TASK, write("b.csv", "text,label\n"))
    with pytest.raises(UserError, match="c.jsonl has no rows"):
        read_file(TASK, write("c.jsonl", ""))


def test_texts_to_predict_need_no_label_and_may_be_empty(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write("a.csv", 'text\na\n""\nb\n')
    assert list(iter_texts(TASK, file)) == [
        (f"{file}, line 2", "a", None, {"text": "a"}),
        (f"{file}, line 3", "", None, {"text": ""}),
        (f"{file}, line 4", "b", None, {"text": "b"}),
    ]
    warning = (
        f"{file}: warning: rows with an empty text, which get no label: 1, the first in {file}"
    )
    assert f"{warning}, line 3\n" in capsys.readouterr().out
    pair = Task(name="mine", text_pair="second")
    rows = [{"text": "a", "second": "b"}, {"text": "c", "second": None}]
    for name in ("a.jsonl", "a.parquet"):
        found = list(iter_texts(pair, write(name, rows)))
        assert [(row.text, row.second) for row in found] == [("a", "b"), ("c", "")]
        assert [row.is_empty for row in found] == [False, True]


def test_texts_to_predict_keep_all_columns_in_their_order(write: Write) -> None:
    """Also an empty name, as pandas writes, and a name that occurs twice."""
    file = write("a.csv", ",id,text,note,note,note.2\n0,7,a,x,y,z\n")
    expected = {"": "0", "id": "7", "text": "a", "note": "x", "note.3": "y", "note.2": "z"}
    (row,) = iter_texts(TASK, file)
    assert list(row.columns.items()) == list(expected.items())
    assert column_names(TASK, file) == list(expected)
    rows = [{"id": 1, "text": "a", "n": None}, {"text": "b", "tags": ["x"], "id": 2}]
    file = write("a.jsonl", rows)
    assert [row.columns for row in iter_texts(TASK, file)] == rows
    assert column_names(TASK, file) == ["id", "text", "n", "tags"]
    headerless = Task(name="mine", columns=("id", "text", "label"))
    file = write("b.csv", "1,a\n2,b\n")
    assert column_names(headerless, file) == ["id", "text"]


def test_parquet_columns_to_predict_become_plain(tmp_path: Path) -> None:
    times = pa.array([datetime.datetime(2026, 1, 2, 3, 4, 5)], pa.timestamp("ns"))
    columns = {
        "when": times,
        "text": pa.array(["a"]),
        "price": pa.array([Decimal("1.50")]),
        "raw": pa.array([b"xy"]),
        "n": pa.array([3]),
        "tags": pa.array([["p", "q"]]),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    (row,) = iter_texts(TASK, tmp_path / "a.parquet")
    assert list(row.columns) == list(columns)
    assert row.columns["when"].startswith("2026-01-02 03:04:05")
    assert [row.columns[name] for name in ("text", "price", "raw", "n", "tags")] == [
        *("a", "1.50", "xy", 3, ["p", "q"])
    ]


def test_texts_to_predict_are_a_stream(write: Write) -> None:
    file = write("a.csv", "text\n" + "a\n" * 100_000 + '"open\n')
    assert next(iter_texts(TASK, file)).place == f"{file}, line 2"


def test_questions_for_trec_are_complete_lines(
    write: Write, load_task: Callable[..., Task]
) -> None:
    """With TREC's settings; and with labels, if the separator can tell them apart."""
    task = load_task("trec")
    file = write("questions.txt", "How far is it ?\nWho ?\n")
    assert [row.text for row in iter_texts(task, file)] == ["How far is it ?", "Who ?"]
    task = Task(name="mine", columns=("text", "label"))
    for content in ("a b\nc\n", "a b\tx\nc\ty\n", "label\ttext\nx\ta b\ny\tc\n"):
        found = [row.text for row in iter_texts(task, write("a.tsv", content))]
        assert found == ["a b", "c"]


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
def test_real_files_are_read_as_they_are_published(
    realdata: Path,
    load_task: Callable[..., Task],
    name: str,
    file: str,
    rows: int,
    counts: dict[str, int],
    first: str | None,
) -> None:
    path = realdata / "classification" / file
    task = load_task(name)
    found = read_file(task, path)
    assert len(found) == rows
    assert first is None or found.texts[0] == first
    assert label_names(found, task) == tuple(counts)
    assert {label: found.labels.count(label) for label in counts} == counts
    if name == "trec":
        assert "sisterðcity" in found.texts[65]  # a Latin-1 byte, 0xF0, in line 66
        assert found.places[65] == f"{path}, line 66"
