"""Labelled examples and texts to predict, in every format, and the real datasets."""

from collections.abc import Callable
from pathlib import Path

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.data.examples import Examples, iter_texts, read_file
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
        match=r"4 of 6 rows of .*a.csv have an empty text \(.*line 3; .*line 4; [^;]*line 6\); set "
        "task.skip_empty=true",
    ):
        read_file(TASK, file)
    found = read_file(Task(name="mine", skip_empty=True), file)
    assert (found.texts, found.labels) == (["a", "b"], ["1", "0"])
    assert [place.rpartition(" ")[2] for place in found.places] == ["2", "8"]
    assert "4 of 6 rows skipped" in capsys.readouterr().out


def test_empty_seconds_completions_and_nulls_count_as_empty(write: Write) -> None:
    pair = Task(name="mine", text_pair="second")
    rows = [{"text": "a", "second": " ", "label": 1}, {"text": "a", "second": "b", "label": 0}]
    with pytest.raises(UserError, match="1 of 2 rows"):
        read_file(pair, write("a.jsonl", rows))
    rows = [{"text": None, "label": "1"}, {"text": "a", "label": ""}, {"text": "a", "label": "b"}]
    with pytest.raises(UserError, match="2 of 3 rows"):
        read_file(COMPLETIONS, write("a.parquet", rows))


def test_files_without_text_are_refused(write: Write) -> None:
    with pytest.raises(UserError, match="a.csv has no text in 1 row$"):
        read_file(Task(name="mine", skip_empty=True), write("a.csv", "text,label\n,1\n"))
    with pytest.raises(UserError, match="b.csv has no rows"):
        read_file(TASK, write("b.csv", "text,label\n"))
    with pytest.raises(UserError, match="c.jsonl has no rows"):
        read_file(TASK, write("c.jsonl", ""))


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


def test_questions_for_trec_are_complete_lines(
    write: Write, load_task: Callable[..., Task]
) -> None:
    """With TREC's settings; and with labels, if the separator can tell them apart."""
    task = load_task("trec")
    file = write("questions.txt", "How far is it ?\nWho ?\n")
    assert [text for _, text, _ in iter_texts(task, file)] == ["How far is it ?", "Who ?"]
    task = Task(name="mine", columns=("text", "label"))
    for content in ("a b\nc\n", "a b\tx\nc\ty\n", "label\ttext\nx\ta b\ny\tc\n"):
        found = [text for _, text, _ in iter_texts(task, write("a.tsv", content))]
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
