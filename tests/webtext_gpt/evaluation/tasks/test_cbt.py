"""Children's Book Test in the authors' format and as rows."""

from collections.abc import Callable
from pathlib import Path

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Measurement
from webtext_gpt.evaluation.tasks.cbt import COMMON_NOUNS
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


def test_blocks_with_other_line_ends_are_read(tmp_path: Path) -> None:
    """CRLF, white space at line ends and on blank lines, a byte order mark, U+0085 in a line."""
    folder = tmp_path / "CBTest" / "data"
    folder.mkdir(parents=True)
    block = SENTENCES.replace("mat 7 .", "mat\x85 7 . ") + "21 A XXXXX ?\tcat\t\tcat|dog \n"
    text = "\ufeff" + f"{block} \n\n{block}\n{block}\n\n".replace("\n", "\r\n")
    (folder / "cbtest_CN_test_2500ex.txt").write_text(text, newline="")
    rows = [row for _, row in COMMON_NOUNS.source.rows(tmp_path)]
    assert len(rows) == 3
    for row in rows:
        assert (row["question"], row["answer"]) == ("A XXXXX ?", "cat")
        assert row["options"] == ["cat", "dog"]
        assert row["sentences"][6] == "The cat sat on mat\x85 7 ."
        assert row["sentences"][19] == "The cat sat on mat 20 ."


def test_a_bad_block_in_the_middle_is_named(tmp_path: Path) -> None:
    block = f"{SENTENCES}21 A XXXXX ?\tcat\t\tcat|dog\n"
    file = tmp_path / "cbtest_CN_test_2500ex.txt"
    for bad in (block.replace("5 The cat sat on mat 5 .\n", ""), block.replace("\tcat\t", "\t")):
        file.write_text("\n".join((block, bad, block)))
        assert len(COMMON_NOUNS.source.rows(tmp_path, limit=1)) == 1
        with pytest.raises(UserError, match=rf"{file}, question 2 is not 20 sentences"):
            COMMON_NOUNS.source.rows(tmp_path)
