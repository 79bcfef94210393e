"""CoQA in the authors' format and as rows."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Measurement
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.evaluation.tasks.coqa import COQA

ROW = '{"questions": ["a"], "answers": ["b"], "story": %s}\n'


def test_f1_of_a_conversation(
    scorer: Scorer,
    measure: Callable[..., Measurement],
    write_rows: Callable[[Path, list[dict]], None],
    scripted: Callable[[dict[str, str]], list[str]],
    tmp_path: Path,
) -> None:
    authors = {
        "data": [
            {
                "story": "Ann has a red cat. ",
                "questions": [{"input_text": "Who?"}, {"input_text": "Colour?"}],
                "answers": [{"input_text": "Ann"}, {"input_text": "red"}],
                "additional_answers": {"0": [{"input_text": "ann"}, {"input_text": "a dark red"}]},
            }
        ]
    }
    (tmp_path / "coqa-dev-v1.0.json").write_text(json.dumps(authors))
    scorer.block_size = 200
    seen = scripted({"Who?\nA:": " Ann", "Colour?\nA:": " dark blue"})
    # " dark blue": F1 0 against "red", 1/2 against "dark red"; each reference left out once.
    assert measure("coqa", tmp_path).metrics == {"f1": pytest.approx(100 * (1 + 0.25) / 2)}
    assert "Ann has a red cat.\n\nQ: Who?\nA: Ann\nQ: Colour?\nA:" in seen
    hub = {"story": "S.", "questions": ["Who?"], "answers": {"input_text": ["Ann B."]}}
    write_rows(tmp_path / "coqa_validation.jsonl", [hub])
    assert measure("coqa", tmp_path).metrics == {"f1": pytest.approx(200 / 3)}


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("coqa_validation.jsonl", ROW % "1", "'story' is int, not text"),
        ("coqa_validation.jsonl", ROW % '"s", "answers": {}', "not as many answers"),
        ("coqa-dev-v1.0.json", "{}", "is not CoQA's JSON"),
        ("coqa-dev-v1.0.json", '{"data": [{"story": "x"', "is not CoQA's JSON, or is cut short"),
        ("coqa-dev-v1.0.json", "[]", "is not CoQA's JSON: it has no list"),
        ("coqa_validation.jsonl", ROW % '"s", "answers": [5]', "line 1: 'answers' is int, not a"),
        ("coqa_validation.jsonl", ROW % '"s", "answers": [[]]', "a question without an answer"),
        ("coqa_validation.jsonl", ROW % '"s", "answers": [["a", 1]]', "'answers' is int, not text"),
    ],
)
def test_bad_data_is_refused(
    measure: Callable[..., Measurement], tmp_path: Path, file: str, text: str, message: str
) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(UserError, match=message):
        measure("coqa", tmp_path)


def story(**changes: object) -> dict:
    return {
        "story": "Ann ran.",
        "questions": [{"input_text": "Who?", "turn_id": 1}],
        "answers": [{"input_text": "Ann", "span_text": "Ann"}],
        "additional_answers": {"0": [{"input_text": "ann"}], "1": [{"input_text": "Ann."}]},
        **changes,
    }


def test_a_story_with_one_reference_and_a_byte_order_mark(tmp_path: Path) -> None:
    single = story()
    del single["additional_answers"]
    text = json.dumps({"version": "1.0", "data": [story(), single]})
    (tmp_path / "coqa-dev-v1.0.json").write_text("\ufeff" + text)
    rows = [row for _, row in COQA.source.rows(tmp_path)]
    assert [row["answers"] for row in rows] == [[["Ann", "ann", "Ann."]], [["Ann"]]]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"story": "x"}, "no 'answers'"),
        ("text", "string indices|has no attribute"),
        (story(questions=[{"turn_id": 1}]), "no 'input_text'"),
        (story(answers=[{"input_text": "a"}, {"input_text": "b"}]), "is shorter"),
        (story(additional_answers=["a"]), "has no attribute"),
    ],
)
def test_a_bad_story_in_the_middle_is_named(tmp_path: Path, bad: object, message: str) -> None:
    file = tmp_path / "coqa-dev-v1.0.json"
    file.write_text(json.dumps({"data": [story(), bad, story()]}))
    with pytest.raises(UserError, match=rf"{file}, story 2 is not a story of CoQA: .*({message})"):
        COQA.source.rows(tmp_path)
