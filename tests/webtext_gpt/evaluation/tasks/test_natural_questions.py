"""Natural Questions."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Measurement
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.evaluation.tasks.natural_questions import NATURAL_QUESTIONS


def test_exact_answers(
    scorer: Scorer,
    measure: Callable[..., Measurement],
    write_rows: Callable[[Path, list[dict]], None],
    scripted: Callable[[dict[str, str]], list[str]],
    tmp_path: Path,
) -> None:
    rows = [
        {"question": "who wrote dracula", "answer": ["Bram Stoker", "Stoker"]},
        {"question": "how many legs has a cat?", "answer": ["four", "4"]},
    ]
    write_rows(tmp_path / "natural_questions_validation.jsonl", rows)
    scorer.block_size = 1000
    seen = scripted({"dracula?\nA:": " Abraham Stoker", "cat?\nA:": " Four."})
    assert measure("natural_questions", tmp_path).metrics == {"exact_match": 50.0}
    assert all(prompt.startswith("Q: who wrote the play hamlet?\nA: William") for prompt in seen)


def test_rows_of_nq_open(tmp_path: Path) -> None:
    row = '{"question": "who", "answer": ["54\\u00a0Mbit/s", "a"]}\n'
    (tmp_path / "NQ-open.dev.jsonl").write_text(row)
    [(_, read)] = NATURAL_QUESTIONS.source.rows(tmp_path)
    assert read == {"question": "who", "answer": ["54\xa0Mbit/s", "a"]}


HTML = "<p>\u00c9d&amp;Co made the <b>80</b> kg, 17.32% rest of it</p>"
TOKENS = [
    "<P>",
    "\u00c9d&Co",
    "made",
    "the",
    "80",
    "kg",
    ",",
    "17.32",
    "%",
    "rest",
    "of",
    "it",
    "</P>",
]


def span(first: int, last: int, text: str = "") -> dict:
    """Tokens from `first` up to `last`, and the bytes of `text` in the HTML."""
    start = HTML.encode().find(text.encode())
    bytes_ = {"start_byte": start, "end_byte": start + len(text.encode())}
    return {"start_token": first, "end_token": last, **bytes_}


def annotated(*short_answers: list[dict], **document: object) -> dict:
    annotations = [
        {"short_answers": spans, "yes_no_answer": "NONE", "long_answer": span(-1, -1)}
        for spans in short_answers
    ]
    return {"question_text": "who did it", "annotations": annotations, **document}


@pytest.mark.parametrize(
    "name",
    ["v1.0-simplified_nq-dev-all.jsonl", "v1.0-simplified-nq-dev-all.jsonl.gz", "nq-dev-all.jsonl"],
)
def test_short_answers_of_the_original_set(tmp_path: Path, name: str) -> None:
    answers = [
        [span(1, 2, "\u00c9d&amp;Co"), span(4, 6, "<b>80</b> kg")],
        [span(1, 2, "\u00c9d&amp;Co")],
        [],
        [span(7, 9, "17.32%"), span(1, 7, "\u00c9d&amp;Co made the <b>80</b> kg,")],  # six tokens
    ]
    tokens = [{"token": t, "html_token": t.startswith("<")} for t in TOKENS]
    rows = [
        annotated(*answers, document_html=HTML, document_tokens=tokens),
        annotated([], [], document_html=HTML),  # no short answer: not a question of NQ-open
        annotated(*answers, document_tokens=tokens),
        annotated(*answers, document_text=" ".join(TOKENS)),
    ]
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    read = [row for _, row in NATURAL_QUESTIONS.source.rows(tmp_path)]
    assert [row["question"] for row in read] == ["who did it"] * 3
    assert [row["answer"] for row in read] == [
        ["\u00c9d&Co", "80 kg", "17.32%"],
        ["\u00c9d&Co", "80 kg", "17.32 %"],
        ["\u00c9d&Co", "80 kg", "17.32 %"],
    ]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"question_text": "who"}, "has no key 'annotations'"),
        (annotated([{"start_token": 1}]), "KeyError at 'end_token'"),
        (annotated([span(1, 2)]), "KeyError at 'document_tokens'"),
        (annotated([span(1, 2)], document_html=5), "AttributeError"),
    ],
)
def test_a_bad_original_row_is_named(tmp_path: Path, bad: dict, message: str) -> None:
    good = annotated([span(1, 2)], document_text="<P> Ann")
    text = "".join(json.dumps(row) + "\n" for row in (good, bad, good))
    (tmp_path / "nq-dev-all.jsonl").write_text(text)
    with pytest.raises(UserError, match=rf"nq-dev-all\.jsonl, line 2.*{message}"):
        NATURAL_QUESTIONS.source.rows(tmp_path)


@pytest.mark.parametrize("answer", [5, None, [], ["a", 1]])
def test_an_answer_that_is_no_text_is_refused(
    scorer: Scorer,
    measure: Callable[..., Measurement],
    write_rows: Callable[[Path, list[dict]], None],
    tmp_path: Path,
    answer: object,
) -> None:
    rows = [{"question": "who", "answer": a} for a in ("x", answer, "x")]
    write_rows(tmp_path / "NQ-open.dev.jsonl", rows)
    scorer.block_size = 1000
    with pytest.raises(UserError, match=r"line 2: 'answer' (is|has) "):
        measure("natural_questions", tmp_path)
