"""HellaSwag, compared with lm-eval's own processing and with a plain loop of llm.c's figures."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Measurement
from webtext_gpt.evaluation.tasks.hellaswag import question
from webtext_gpt.model import GPT
from webtext_gpt.tokenizer import Tokenizer

Row = dict[str, Any]

ROWS: list[Row] = [
    {
        "activity_label": "Sitting",
        "ctx_a": "the cat sat on the mat .",
        "ctx_b": "the dog",
        "ctx": "the cat sat on the mat . the dog",
        "endings": ["saw the cat .", "sat .", "and the mat sat on the cat .", "the the"],
        "label": 2,
    },
    {
        "activity_label": "Food",
        "ctx_a": "[header] the mat [title] the cat  sat [step] and",
        "ctx_b": "",
        "ctx": "[header] the mat [title] the cat  sat [step] and",
        "endings": ["saw [title] the dog", "[substeps] the dog saw", "sat on  it", "é 🙂"],
        "label": "0",
    },
    {
        "activity_label": "The mat",
        "ctx_a": "so [step]",
        "ctx_b": "",
        "ctx": "so [step]",
        "endings": ["sat", "sat", "the cat", "a"],
        "label": 1,
    },
]


@torch.inference_mode()
def _nats(model: GPT, ids: list[int], first: int) -> list[float]:
    rows = model(torch.tensor([ids[:-1]]))[0].double().log_softmax(-1)
    return [float(rows[n - 1, ids[n]]) for n in range(first, len(ids))]


def _lm_eval(model: GPT, tokenizer: Tokenizer, row: Row) -> tuple[int, int]:
    """Return the choices by log-probability, and by log-probability a character, with lm-eval."""
    utils = pytest.importorskip("lm_eval.tasks.hellaswag.utils")
    import datasets

    (doc,) = utils.process_docs(datasets.Dataset.from_list([row]))
    query = doc["query"]
    before = len(tokenizer.encode(query.rstrip()))
    sums = [
        sum(_nats(model, tokenizer.encode(f"{query} {choice}"), before))
        for choice in doc["choices"]
    ]
    normed = [value / len(choice) for value, choice in zip(sums, doc["choices"], strict=True)]
    return sums.index(max(sums)), normed.index(max(normed))


def _llm_c(model: GPT, tokenizer: Tokenizer, row: Row) -> tuple[int, int]:
    """Return the choices by summed and by mean loss after the context as it is."""
    context = tokenizer.encode(row["ctx"])
    nats = [
        _nats(model, [*context, *tokenizer.encode(f" {ending}")], len(context))
        for ending in row["endings"]
    ]
    sums, means = [sum(n) for n in nats], [sum(n) / len(n) for n in nats]
    return sums.index(max(sums)), means.index(max(means))


def test_choices_equal_those_of_lm_eval_and_llm_c(
    measure: Callable[..., Measurement],
    write_rows: Callable[[Path, list[Row]], None],
    model: GPT,
    tokenizer: Tokenizer,
    tmp_path: Path,
) -> None:
    rows = [{**row, "label": label} for row in ROWS for label in range(4)]
    write_rows(tmp_path / "hellaswag_val.jsonl", rows)
    measured = measure("hellaswag", tmp_path)
    expected: dict[str, list[float]] = {name: [] for name in measured.metrics}
    for row in rows:
        as_text = {**row, "label": str(row["label"])}
        picked = (*_lm_eval(model, tokenizer, as_text), *_llm_c(model, tokenizer, row))
        for name, pick in zip(expected, picked, strict=True):
            expected[name].append(100.0 * (pick == row["label"]))
    assert list(expected) == ["acc", "acc_norm", "completion_acc", "completion_acc_norm"]
    assert measured.per_example == expected
    assert measured.metrics["acc"] == 25  # each of the four labels once
    assert measured.counts["cut_prompts"] == 0


def test_ties_and_cut_prompts_are_counted(
    measure: Callable[..., Measurement],
    write_rows: Callable[[Path, list[Row]], None],
    tmp_path: Path,
) -> None:
    same = {**ROWS[0], "endings": ["sat"] * 4}
    long = {**ROWS[0], "ctx_a": "the cat sat on the mat . " * 20}
    write_rows(tmp_path / "hellaswag_val.jsonl", [{**same, "label": 0}, {**same, "label": 1}, long])
    measured = measure("hellaswag", tmp_path)
    assert measured.per_example["acc"][:2] == [100, 0]
    assert (measured.counts["ties"], measured.counts["cut_prompts"]) == (2, 1)


def test_labels_of_the_file_and_of_the_hub_are_read() -> None:
    assert question("here", ROWS[1]).gold == 0
    assert question("here", ROWS[0]).gold == 2
    cleaned = question("here", ROWS[1])
    assert cleaned.context == "Food: the mat. the cat sat and"
    assert question("here", ROWS[2]).context == "The mat: so "  # scored with the ending
    assert cleaned.choices == ["saw. the dog", " the dog saw", "sat on it", "é 🙂"]
    with pytest.raises(UserError, match="here has no label; give the validation set"):
        question("here", {**ROWS[0], "label": ""})
    with pytest.raises(UserError, match="here: the answer is '4', which is none of 0, 1, 2, 3"):
        question("here", {**ROWS[0], "label": 4})


def test_a_missing_field_is_named(measure: Callable[..., Measurement], tmp_path: Path) -> None:
    (tmp_path / "hellaswag_val.jsonl").write_text(json.dumps({"ctx": "the cat"}))
    with pytest.raises(UserError, match=r"hellaswag_val.jsonl, line 1 has no key 'activity_label'"):
        measure("hellaswag", tmp_path)
