"""Predictions of a saved classifier: every row in order, whatever its batch; and its export."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from webtext_gpt.checkpoint.load import load_language_model, save_model
from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.data.examples import TextRow
from webtext_gpt.finetuning.model import add_head
from webtext_gpt.finetuning.predict import (
    CHUNK,
    TextClassifier,
    output_names,
    predict_file,
)
from webtext_gpt.weights import hugging_face

LABELS = ("no", "yes", "may, be")


def _classifier(
    checkpoint: Path, labels: tuple[str, ...] = LABELS, pairs: bool = False
) -> TextClassifier:
    torch.manual_seed(0)
    body, tokenizer = load_language_model(checkpoint)
    model, tokenizer = add_head(
        body, tokenizer, labels, pairs=pairs, both_orders=False, dropout=0.1
    )
    torch.nn.init.normal_(model.head.weight, std=0.5)
    return TextClassifier(model.eval(), tokenizer)


def _rows(texts: list[str]) -> list[TextRow]:
    return [TextRow(f"row {n}", text, None, {"text": text}) for n, text in enumerate(texts)]


def test_rows_keep_their_order_over_chunks(small_checkpoint: Path, tmp_path: Path) -> None:
    classifier = _classifier(small_checkpoint)
    texts = [("the cat " * (1 + n * 7 % 11))[: 1 + n % 60] for n in range(CHUNK + 50)]
    assert predict_file(classifier, iter(_rows(texts)), tmp_path / "a.csv") == len(texts)
    rows = list(csv.DictReader((tmp_path / "a.csv").open(newline="")))
    assert [row["text"] for row in rows] == texts
    for n in (0, 5, CHUNK - 1, CHUNK, CHUNK + 49):
        expected = classifier.logits([texts[n]])[0].softmax(dim=0).tolist()
        found = [float(rows[n][f"p({label})"]) for label in LABELS]
        assert found == pytest.approx(expected, abs=1e-5)
        assert sum(found) == pytest.approx(1, abs=1e-5)
        assert rows[n]["label"] == LABELS[expected.index(max(expected))]
        assert float(rows[n]["probability"]) == pytest.approx(max(expected), abs=1e-5)


def test_json_lines_and_numbers_and_pairs(small_checkpoint: Path, tmp_path: Path) -> None:
    texts = ['a "quoted", text\nof two lines', "a", "the cat"]
    predict_file(_classifier(small_checkpoint), _rows(texts), tmp_path / "a.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [row["text"] for row in rows] == texts
    assert all(row["probabilities"][row["label"]] == row["probability"] for row in rows)
    number = _classifier(small_checkpoint, ("score",), pairs=True)
    texts = [("a cat", "a dog"), ("a dog", ""), ("a dog", "a cat")]
    pairs = [TextRow("", a, b, {"first": a, "second": b}) for a, b in texts]
    predict_file(number, pairs, tmp_path / "b.csv")
    header, *rows = csv.reader((tmp_path / "b.csv").open())
    assert header == ["first", "second", "label"]
    assert [tuple(row[:2]) for row in rows] == texts
    expected = number.logits(["a cat", "a dog"], ["a dog", "a cat"])[:, 0].tolist()
    assert [float(rows[n][2]) for n in (0, 2)] == pytest.approx(expected)
    assert rows[1][2] == ""


def test_an_empty_text_gets_no_label(small_checkpoint: Path, tmp_path: Path) -> None:
    classifier = _classifier(small_checkpoint)
    for name in ("a.csv", "a.jsonl"):
        assert predict_file(classifier, _rows(["a", " \t", "b"]), tmp_path / name) == 3
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    nothing = {"text": " \t", "label": None, "probability": None, "probabilities": None}
    assert rows[1] == nothing
    assert None not in rows[0].values()
    cells = list(csv.reader((tmp_path / "a.csv").open()))
    assert cells[2] == [" \t", "", "", "", "", ""]
    assert [row[1] for row in cells[1::2]] == [row["label"] for row in rows[::2]]
    assert predict_file(classifier, _rows([""]), tmp_path / "b.csv") == 1


def test_names_of_the_input_s_columns_are_kept(tmp_path: Path) -> None:
    names = output_names(["id", "label", "p(no)"], ("no", "yes"), tmp_path / "a.csv")
    assert names == ["predicted_label", "probability", "predicted_p(no)", "p(yes)"]
    names = output_names(["probabilities"], ("no", "yes"), tmp_path / "a.jsonl")
    assert names == ["label", "probability", "predicted_probabilities"]
    assert output_names(["probability"], ("score",), tmp_path / "a.csv") == ["label"]
    with pytest.raises(UserError, match="'label' and 'predicted_label', .* rename one"):
        output_names(["label", "predicted_label"], ("no", "yes"), tmp_path / "a.csv")


def test_rows_with_other_keys_and_values_are_written(
    small_checkpoint: Path, tmp_path: Path
) -> None:
    columns = [{"text": "a", "n": None, "x": {"y": [1, "é"]}}, {"more": True, "text": "\ud800b"}]
    rows = [TextRow("", "a", None, row) for row in columns]
    classifier = _classifier(small_checkpoint, ("no", "yes"))
    predict_file(classifier, rows, tmp_path / "a.csv", ["text", "n", "x", "more"])
    cells = [row[:4] for row in csv.reader((tmp_path / "a.csv").open(encoding="utf-8"))]
    assert cells == [
        ["text", "n", "x", "more"],
        ["a", "", '{"y": [1, "é"]}', ""],
        ["\\ud800b", "", "", "True"],
    ]
    predict_file(classifier, rows, tmp_path / "a.jsonl")
    lines = (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    assert [list(row.items())[: len(given)] for row, given in zip(found, columns, strict=True)] == [
        list(given.items()) for given in columns
    ]


def test_long_texts_are_cut_and_counted(small_checkpoint: Path) -> None:
    """A context of 64 holds 62 tokens of text: `the cat ` is at least two of them."""
    classifier = _classifier(small_checkpoint)
    long = "the cat " * 100
    cut = classifier.tokenizer.decode(classifier.tokenizer.encode(long)[:62])
    logits = classifier.logits([long, cut, "the"])
    assert classifier.truncated == 1
    torch.testing.assert_close(logits[0], logits[1])


def test_a_failed_prediction_leaves_no_file(small_checkpoint: Path, tmp_path: Path) -> None:
    classifier = _classifier(small_checkpoint)

    def broken() -> object:
        yield from _rows(["a"] * (CHUNK + 1))
        raise UserError("row 1025 is ragged")

    with pytest.raises(UserError, match="row 1025 is ragged"):
        predict_file(classifier, broken(), tmp_path / "a.csv")
    with pytest.raises(UserError, match=r"out=.*a.txt must end in .csv or .jsonl"):
        predict_file(classifier, _rows(["a"]), tmp_path / "a.txt")
    (tmp_path / "b.csv").write_text("mine")
    with pytest.raises(UserError, match=r"b.csv exists"):
        predict_file(classifier, _rows(["a"]), tmp_path / "b.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["b.csv"]
    with pytest.raises(UserError, match="reads single texts"):
        classifier.logits(["a"], ["b"])
    with pytest.raises(UserError, match="task.text_pair="):
        _classifier(small_checkpoint, pairs=True).logits(["a"])


def test_transformers_gives_the_same_logits(
    small_checkpoint: Path, tmp_path: Path, transformers_remarks: list[str]
) -> None:
    """Like ours, its pooling takes the last token before the padding, the extract token."""
    from transformers import AutoModelForSequenceClassification

    classifier = _classifier(small_checkpoint)
    hugging_face.save(classifier.model, classifier.tokenizer, tmp_path / "hf")
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "hf")
    config, texts = classifier.model.config, ["the cat", "a", "the old river and"]
    ids = [
        [config.start_token_id, *classifier.tokenizer.encode(t), config.extract_token_id]
        for t in texts
    ]
    width = max(map(len, ids))
    padded = torch.tensor([i + [config.pad_token_id] * (width - len(i)) for i in ids])
    with torch.no_grad():
        mask = torch.tensor([[1] * len(i) + [0] * (width - len(i)) for i in ids])
        found = theirs(padded, attention_mask=mask).logits
    torch.testing.assert_close(found, classifier.logits(texts), atol=1e-4, rtol=0)
    assert list(theirs.config.id2label.values()) == list(LABELS)
    assert transformers_remarks == []
    again, tokenizer = hugging_face.load(tmp_path / "hf")
    loaded = TextClassifier(again, tokenizer).logits(texts)
    torch.testing.assert_close(loaded, classifier.logits(texts))


Call = Callable[..., object]


@pytest.mark.parametrize(
    ("head", "separator", "given"),
    [
        ("\ufeff", ";", ["task.separator=semicolon"]),
        ("\ufeffsep=;\r\n", ";", []),
        ("", "|", ["task.separator=pipe"]),
        ("", "\t", ["task.separator=tab"]),
    ],
    ids=["semicolon and mark", "sep=", "pipe", "tab"],
)
def test_labels_are_written_in_the_style_of_the_input(
    head: str, separator: str, given: list[str], call: Call, small_checkpoint: Path, tmp_path: Path
) -> None:
    """So that the spreadsheet that wrote the input opens them, and the classifier reads them."""
    classifier = _classifier(small_checkpoint)
    path, file = tmp_path / "classifier.ckpt", tmp_path / "texts.csv"
    save_model(classifier.model, classifier.tokenizer, path)
    rows = [["id", "text"], ["1", "Käse, und"], ["2", "a dog"]]
    lines = "".join(separator.join(row) + "\r\n" for row in rows)
    file.write_text(head + lines, newline="")
    used = [f"checkpoint={path}", "task=file", f"run_dir={tmp_path}/run"]
    done = call("finetune.py", *used, *given, f"predict={file}", f"out={tmp_path}/a.csv")
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "a.csv").read_bytes().decode()
    style = (head, separator) if separator != "\t" else ("", ",")  # tabs are not for .csv
    assert written.startswith(style[0] + style[1].join(["id", "text", "label", "probability", ""]))
    if separator == ";":
        done = call(
            "finetune.py", *used, *given, f"predict={tmp_path}/a.csv", f"out={tmp_path}/b.csv"
        )
        assert done.returncode == 0, done.stderr


def test_an_unfinished_run_is_used_with_a_warning(
    call: Call, small_checkpoint: Path, tmp_path: Path
) -> None:
    classifier = _classifier(small_checkpoint)
    (tmp_path / "run/checkpoints").mkdir(parents=True)
    save_model(classifier.model, classifier.tokenizer, tmp_path / "run/checkpoints/best.ckpt")
    (tmp_path / "texts.csv").write_text("text\na dog\n")
    used = [f"checkpoint={tmp_path}/run", "task=file", f"predict={tmp_path}/texts.csv"]
    warned = call("finetune.py", *used, f"out={tmp_path}/a.csv", f"run_dir={tmp_path}/used")
    assert warned.returncode == 0, warned.stderr
    assert f"warning: {tmp_path}/run has not been trained to its end" in warned.stderr
    assert f"resume={tmp_path}/run" in warned.stderr
    (tmp_path / "run/summary.json").write_text('{"step": 4}')
    done = call("finetune.py", *used, f"out={tmp_path}/b.csv", f"run_dir={tmp_path}/used")
    assert (done.returncode, "warning" in done.stderr) == (0, False)


def test_a_saved_classifier_is_measured_and_labels_files(
    call: Call, small_checkpoint: Path, tmp_path: Path
) -> None:
    classifier = _classifier(small_checkpoint)
    path = tmp_path / "classifier.ckpt"
    save_model(classifier.model, classifier.tokenizer, path)
    file = tmp_path / "texts.csv"
    file.write_text(",review,stars,label\n7,the cat,yes,x\n8,a dog,no,y\n9,the river,no,z\n")
    columns = ["task=file", "task.text=review", "task.label=stars"]
    run, out = tmp_path / "run", tmp_path / "labels.jsonl"
    done = call(
        "finetune.py",
        *(f"checkpoint={path}", f"evaluate={file}", f"predict={file}", f"out={out}"),
        *(*columns, f"run_dir={run}"),
    )
    assert done.returncode == 0, done.stderr
    logits = classifier.logits(["the cat", "a dog", "the river"])
    predicted = [LABELS[i] for i in logits.argmax(dim=1)]
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["predicted_label"] for row in rows] == predicted
    assert [list(row.values())[:4] for row in rows] == [
        *(["7", "the cat", "yes", "x"], ["8", "a dog", "no", "y"], ["9", "the river", "no", "z"])
    ]
    assert "a column of the same name, so predictions are in predicted_label" in done.stdout
    hits = sum(p == t for p, t in zip(predicted, ["yes", "no", "no"], strict=True))
    figures = json.loads((run / "evaluation" / "summary.json").read_text())
    assert figures["accuracy"] == pytest.approx(hits / 3)
    for arguments, message in (
        ([f"predict={file}"], "does not say which columns it reads"),
        (
            [f"predict={file}", "task.text=revue"],
            "'revue'; did you mean 'review'.*; set task.text=review$",
        ),
        ([f"predict={file}", "task.texd=review"], "task.*texd"),
        (
            [f"predict={file}", "task=file"],
            r"no column 'text'; its columns are '', 'review', 'stars', 'label'; set task.text=",
        ),
        ([f"evaluate={file}", "task=file", "task.text=review", "task.label=a"], "no column 'a'"),
        ([f"predict={file}", *columns, "out=a.parquet"], "must end in .csv or .jsonl"),
        ([f"predict={tmp_path}/none.csv", *columns], "none.csv does not exist"),
    ):
        failed = call("finetune.py", f"checkpoint={path}", *arguments, f"run_dir={tmp_path}/x")
        assert failed.returncode == 1
        assert re.search(message, failed.stderr.strip()), failed.stderr
        assert not (tmp_path / "x").exists()


def test_predicting_with_a_language_model_is_refused(
    call: Call, small_checkpoint: Path, tmp_path: Path
) -> None:
    failed = call("finetune.py", f"checkpoint={small_checkpoint}", "predict=a.csv")
    assert failed.returncode == 1
    assert "is a language model, not a classifier; give task=..." in failed.stderr
