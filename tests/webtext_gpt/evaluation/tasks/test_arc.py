"""ARC in each form of its data, compared with lm-eval's own task."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Measurement
from webtext_gpt.evaluation.tasks.arc import question

Row = dict[str, Any]

TEXTS = ["the cat", "the cat sat on the mat", "a dog"]


def _ai2(stem: str, texts: list[str], labels: str, answer: str) -> Row:
    choices = [{"text": t, "label": label} for t, label in zip(texts, labels, strict=True)]
    return {"id": "Q", "question": {"stem": stem, "choices": choices}, "answerKey": answer}


def _hub(stem: str, texts: list[str], labels: str, answer: str) -> Row:
    choices = {"text": texts, "label": list(labels)}
    return {"id": "Q", "question": stem, "choices": choices, "answerKey": answer}


def _core(stem: str, texts: list[str], labels: str, answer: str) -> Row:
    return {"query": f"Question: {stem}", "choices": texts, "gold": labels.index(answer)}


FORMS = {
    "ARC-Easy-Test.jsonl": _ai2,
    "arc_easy_test.jsonl": _hub,
    "arc_easy.jsonl": _core,
    "arc_easy_test.parquet": _hub,
}

QUESTIONS = [
    *(("what sat ?", TEXTS, "ABC", answer) for answer in "ABC"),
    *(("what saw the dog ?", [*TEXTS[::-1], "é 🙂"], "1234", answer) for answer in "1234"),
]


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_choices_of_lm_eval(
    measure: Callable[..., Measurement],
    log_probability: Callable[[str, str], float],
    tmp_path: Path,
    name: str,
) -> None:
    rows = [FORMS[name](*question) for question in QUESTIONS]
    if name.endswith(".parquet"):
        import datasets

        datasets.Dataset.from_list(rows).to_parquet(tmp_path / name)
    else:
        (tmp_path / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    measured = measure("arc_easy", tmp_path)
    expected: dict[str, list[float]] = {"acc": [], "acc_norm": []}
    for question_ in QUESTIONS:
        query, texts, gold = _rendered(_hub(*question_))
        sums = [log_probability(query, f" {text}") for text in texts]
        normed = [value / len(text) for value, text in zip(sums, texts, strict=True)]
        expected["acc"].append(100.0 * (sums.index(max(sums)) == gold))
        expected["acc_norm"].append(100.0 * (normed.index(max(normed)) == gold))
    assert measured.per_example == expected
    assert measured.metrics["acc"] == pytest.approx(100 * 2 / 7)  # each label of both once


def _rendered(doc: Row) -> tuple[str, list[str], int]:
    """Return the prompt, the choices and the answer by lm-eval's templates."""
    folder = Path(pytest.importorskip("lm_eval.tasks").__file__).parent / "arc"
    import yaml
    from lm_eval.utils import apply_template

    class Loader(yaml.SafeLoader):
        """Reads the file without running its functions."""

    config = yaml.load((folder / "arc_easy.yaml").read_text(), Loader)
    gold = int(apply_template(config["doc_to_target"], doc))
    return apply_template(config["doc_to_text"], doc), doc["choices"]["text"], gold


def test_limit_and_an_empty_file(measure: Callable[..., Measurement], tmp_path: Path) -> None:
    file = tmp_path / "ARC-Challenge-Test.jsonl"
    file.write_text("".join(f"{json.dumps(_ai2(*question))}\n" for question in QUESTIONS))
    assert measure("arc_challenge", tmp_path, limit=2).examples == 2
    file.write_text("")
    with pytest.raises(UserError, match=r"ARC-Challenge-Test.jsonl is empty"):
        measure("arc_challenge", tmp_path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (_ai2("what ?", TEXTS, "ABC", "D"), "here: the answer is 'D', which is none of A, B, C"),
        (_hub("what ?", TEXTS, "ABC", "1"), "here: the answer is '1', which is none of A, B, C"),
        ({"question": "what ?"}, "here has no key 'answerKey', only question"),
        ({"question": "what ?", "answerKey": "A"}, "here has no key 'choices'"),
        ({"question": {"stem": "what ?"}, "answerKey": "A"}, "here: question has no key 'choices'"),
        (
            {"question": {"stem": "what ?", "choices": ["a"]}, "answerKey": "A"},
            "here: 'choices' of the question is not a list of objects",
        ),
        ({"question": "what ?", "choices": ["a"], "answerKey": "A"}, "here: 'choices' is list"),
        ({"query": "what ?", "choices": ["a"]}, "here has no key 'gold'"),
        ({"query": "what ?", "choices": ["a"], "gold": 1}, "here: the answer is '1'"),
    ],
)
def test_wrong_rows_are_named(row: Row, message: str) -> None:
    with pytest.raises(UserError, match=message):
        question("here", row)
