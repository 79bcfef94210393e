"""Files in the forms of GLUE, Kaggle, Excel, SNLI and STS: the same rows as pandas reads."""

import csv
import io
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.data.examples import Examples, iter_texts, read_file
from webtext_gpt.finetuning.data.splits import read_splits
from webtext_gpt.finetuning.data.task import Task

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "latin-1")
NO_LATIN_1 = str.maketrans("\u201c\u201d\u2013\u20ac", "\xab\xbb-E")
WORDS = ["naïve", "Straße", '"quoted"', "5\N{POUND SIGN}", "it's", "a; b", "c, d", "\u201cso\u201d"]
WORDS += ["\u2013", "\u20ac"]
SEED = 7


def _texts(n: int) -> list[str]:
    draw = random.Random(SEED)
    return [f"{row} {' '.join(draw.choices(WORDS, k=6))}" for row in range(n)]


def _plain(rows: list[list[str]], separator: str = "\t") -> str:
    return "".join(separator.join(row) + "\n" for row in rows)


def _quoted(rows: list[list[str]], separator: str = ",", **options: Any) -> str:
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=separator, **options).writerows(rows)
    return stream.getvalue()


def _glue() -> str:
    rows = [[text, str(row % 2)] for row, text in enumerate(_texts(40))]
    return _plain([["sentence", "label"], *rows])


def _cola() -> str:
    rows = [["gj04", str(row % 2), "*" * (row % 2), text] for row, text in enumerate(_texts(40))]
    return _plain(rows)


def _kaggle() -> str:
    rows = [[str(row), f"{text}\n\nEnd.", "ABC"[row % 3]] for row, text in enumerate(_texts(40))]
    return _quoted([["id", "comment", "rating"], *rows], lineterminator="\n")


def _sentiment140() -> str:
    rows = [
        ["04"[row % 2], str(row), "Mon Apr 06", "NO_QUERY", "somebody", text]
        for row, text in enumerate(_texts(40))
    ]
    return _quoted(rows, quoting=csv.QUOTE_ALL, lineterminator="\n")


def _excel() -> str:
    rows = [[text, f"{row / 4:g}".replace(".", ",")] for row, text in enumerate(_texts(40))]
    return "sep=;\r\n" + _quoted([["Text", "Note"], *rows], separator=";")


def _snli() -> str:
    labels = ("entailment", "neutral", "contradiction", "-")
    names = ["gold_label", *(f"parse{n}" for n in range(4)), "sentence1", "sentence2"]
    names += ["captionID", "pairID", *(f"label{n}" for n in range(1, 6))]
    rows = [
        [labels[row % 4], *("( x )",) * 4, text, f"{text} too", "id", "id", "x", *("",) * 4]
        for row, text in enumerate(_texts(40))
    ]
    return _plain([names, *rows])


def _sts() -> str:
    rows = [
        ["genre", "file.tsv", "2012test", f"{row:04}", f"{row % 26 / 5:.3f}", text, f"{text} too"]
        + ["source", "http://example.com"] * (row % 3 == 1)
        for row, text in enumerate(_texts(40))
    ]
    return _plain(rows)


@dataclass(frozen=True)
class Form:
    """A file, the options by which pandas reads it, and the task by which we do."""

    content: Callable[[], str]
    name: str
    task: dict[str, Any]
    pandas: dict[str, Any]
    left_out: tuple[str, ...] = ()


TSV = {"sep": "\t", "quoting": csv.QUOTE_NONE}
S140 = ["target", "ids", "date", "flag", "user", "text"]
STS = ["genre", "file", "year", "id", "score", "sentence1", "sentence2"]
PAIR = {"text": "sentence1", "text_pair": "sentence2"}
FORMS = {
    "glue": Form(_glue, "a.tsv", {"text": "sentence"}, TSV),
    "cola": Form(
        _cola,
        "a.tsv",
        {"columns": ["source", "label", "mark", "text"]},
        {**TSV, "header": None, "names": ["source", "label", "mark", "text"]},
    ),
    "kaggle": Form(_kaggle, "a.csv", {"text": "comment", "label": "rating"}, {}),
    "sentiment140": Form(
        _sentiment140,
        "a.csv",
        {"columns": S140, "label": "target"},
        {"header": None, "names": S140},
    ),
    "excel": Form(
        _excel,
        "a.csv",
        {"text": "Text", "label": "Note", "kind": "regression", "decimal": "comma"},
        {"sep": ";", "skiprows": 1, "decimal": ","},
    ),
    "snli": Form(
        _snli,
        "a.txt",
        {**PAIR, "label": "gold_label", "separator": "tab", "skip_labels": ["-"]},
        TSV,
        left_out=("-",),
    ),
    "sts": Form(
        _sts,
        "a.csv",
        {
            **PAIR,
            "columns": STS,
            "label": "score",
            "separator": "tab",
            "kind": "regression",
            "extra_cells": "drop",
        },
        {**TSV, "header": None, "names": [*STS, "source", "url"]},
    ),
}


def _write(file: Path, content: str, encoding: str) -> None:
    if encoding == "latin-1":
        content = content.translate(NO_LATIN_1)
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    file.write_bytes((mark + content).encode(encoding))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("form", FORMS)
def test_rows_are_those_of_pandas(form: str, encoding: str, tmp_path: Path) -> None:
    how = FORMS[form]
    file = tmp_path / how.name
    _write(file, how.content(), encoding)
    theirs = "utf-16" if encoding.startswith("utf-16") else encoding  # by the byte order mark
    text, second = how.task.get("text", "text"), how.task.get("text_pair")
    label = how.task.get("label", "label")
    kept_as_text = {name: str for name in (text, second, label) if name is not None}
    if how.task.get("kind") == "regression":
        del kept_as_text[label]
    frame = pd.read_csv(
        file, encoding=theirs, dtype=kept_as_text, keep_default_na=False, **how.pandas
    )
    assert len(frame) == 40
    frame = frame[~frame[label].isin(how.left_out)]
    for given in {encoding, theirs} | ({"utf-8"} if encoding.startswith("utf") else set()):
        task = Task(name="mine", encoding=given, **how.task)
        found = read_file(task, file)
        assert found.texts == list(frame[text])
        assert found.seconds == (None if second is None else list(frame[second]))
        assert Counter(found.labels) == Counter(frame[label])
        assert found.labels == list(frame[label])
        predicted = [row[1] for row in iter_texts(task, file)]
        assert len(predicted) == 40
        assert set(predicted) >= set(frame[text])


def test_snli_as_jsonl_leaves_rows_without_agreement_out(
    write: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    labels = ["neutral", "-", "entailment", "-", "contradiction"]
    rows = [
        {"gold_label": label, "sentence1": f"é {n}", "sentence2": "b", "pairID": "1.jpg#4"}
        for n, label in enumerate(labels)
    ]
    file = write("a.jsonl", rows)
    frame = pd.read_json(file, lines=True)
    task = Task(name="mine", label="gold_label", skip_labels=("-",), **PAIR)
    found: Examples = read_file(task, file)
    frame = frame[frame.gold_label != "-"]
    assert found.texts == list(frame.sentence1)
    assert found.labels == list(frame.gold_label)
    assert "a.jsonl: 2 rows left out, the label is '-'" in capsys.readouterr().out


def test_rows_without_a_label_are_remarked_on(
    write: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"text": f"row {n}", "label": "yn-"[n % 3]} for n in range(60)]
    file = write("a.jsonl", rows)
    read_splits(Task(name="mine", train=file, val_fraction=0.5))
    assert "20 rows of training with the label '-'" in (said := capsys.readouterr().out)
    assert "task.skip_labels=[-]" in said
    train, validation, _ = read_splits(
        Task(name="mine", train=file, val_fraction=0.5, skip_labels=("-",))
    )
    assert len(train) + len(validation) == 40
    assert capsys.readouterr().out.count("20 rows left out, the label is '-'") == 1
    with pytest.raises(UserError, match="a.jsonl has no row with a label that task.skip_labels"):
        read_file(Task(name="mine", skip_labels=("y", "n", "-")), file)


def test_utf_16_without_a_mark_is_named_and_read(tmp_path: Path, write: Callable[..., str]) -> None:
    file = Path(write("a.csv", ""))
    for encoding in ("utf-16-le", "utf-16-be"):
        file.write_bytes("text,label\nĊ਀é,1\n".encode(encoding))  # U+010A, U+0A00: 0x0A in a unit
        for given in ("utf-16", encoding):
            found = read_file(Task(name="mine", encoding=given), file)
            assert (found.texts, found.labels) == (["Ċ਀é"], ["1"])


@pytest.mark.parametrize(
    ("label", "skipped", "decimal"),
    [
        ("2", "2.0", "point"),
        ("2.0", "2", "point"),
        ("2,0", "2", "comma"),
        ("0.5", "0.50", "point"),
        ("TRUE", "true", "point"),
        (" - ", "-", "point"),
    ],
)
def test_labels_are_left_out_however_they_are_spelled(
    label: str, skipped: str, decimal: str, write: Callable[..., str]
) -> None:
    """They count as skipped, also where the text is empty."""
    file = write("a.tsv", f"text\tlabel\na\t1\nb\t{label}\n\t{label}\nc\t0\n")
    found = read_file(Task(name="mine", skip_labels=(skipped,), decimal=decimal), file)
    assert (found.texts, found.labels, found.skipped) == (["a", "c"], ["1", "0"], 2)


def test_a_boolean_label_is_left_out(write: Callable[..., str]) -> None:
    rows = [{"text": "a", "label": True}, {"text": "b", "label": "x"}, {"text": "c", "label": None}]
    task = Task(name="mine", skip_labels=("true",))
    assert read_file(task, write("a.jsonl", rows[:2])).texts == ["b"]
    with pytest.raises(UserError, match=r"1 has no label, 'label' is empty \(line 3\)"):
        read_file(task, write("a.jsonl", rows))
