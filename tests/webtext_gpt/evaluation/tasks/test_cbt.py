"""Children's Book Test in the authors' format and as rows."""

from collections.abc import Callable
from pathlib import Path

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Measurement
from webtext_gpt.tokenizer import Tokenizer

SENTENCES = "".join(f"{n} The cat sat on mat {n} .\n" for n in range(1, 21))
CHOICES = ["cat", "dog", "mat", "the", "sat", "and", "saw", "on", "zebra", "tree"]
ROW = '{"sentences": ["a"], "options": ["b", "c"], "answer": "b", %s}\n'


def test_the_likeliest_sentence_is_chosen(
    measure: Callable[..., Measurement],
    log_probability: Callable[[str, str], float],
    tokenizer: Tokenizer,
    tmp_path: Path,
) -> None:
    question = "21 Then XXXXX went , did n't it ?"
    blocks = [f"{SENTENCES}{question}\t{answer}\t\t{'|'.join(CHOICES)}\n" for answer in CHOICES]
    (tmp_path / "cbtest_CN_test_2500ex.txt").write_text("\n".join(blocks))
    lines = [f"The cat sat on mat {n}." for n in range(1, 21)]
    context = "\n".join(lines) + "\n"
    cut = tokenizer.decode(tokenizer.encode(context)[-40:])
    totals = [log_probability(cut, f"Then {c} went, didn't it?") for c in CHOICES]
    measured = measure("cbt_cn", tmp_path)
    assert measured.metrics == {"accuracy": 10.0}  # one of ten answers is the model's choice
    best = CHOICES[totals.index(max(totals))]
    (tmp_path / "cbtest_NE_test_2500ex.txt").write_text(blocks[CHOICES.index(best)])
    assert measure("cbt_ne", tmp_path).metrics == {"accuracy": 100.0}


def test_odd_questions_are_refused(measure: Callable[..., Measurement], tmp_path: Path) -> None:
    file = tmp_path / "cbtest_CN_test_2500ex.txt"
    for text, message in (
        ("1 a\n2 b XXXXX\tc\t\tc|d\n", "question 1 is not 20 sentences"),
        (f"{SENTENCES}21 none\tcat\t\tcat|dog\n", "no XXXXX"),
        (f"{SENTENCES}21 XXXXX\tcow\t\tcat|dog\n", "an answer that is not among its choices"),
    ):
        file.write_text(text)
        with pytest.raises(UserError, match=message):
            measure("cbt_cn", tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ROW % '"question": 5', "'question' is int, not text"),
        (ROW % '"question": "x"', "no XXXXX"),
    ],
)
def test_bad_rows_are_refused(
    measure: Callable[..., Measurement], tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "cbt_cn_test.jsonl").write_text(text)
    with pytest.raises(UserError, match=message):
        measure("cbt_cn", tmp_path)
