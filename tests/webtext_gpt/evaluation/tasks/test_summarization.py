"""CNN/Daily Mail summaries."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Measurement
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.evaluation.tasks import summarization
from webtext_gpt.evaluation.tasks.summarization import CNN_DAILYMAIL, sentences


def test_rouge_of_the_first_three_sentences(
    scorer: Scorer,
    measure: Callable[..., Measurement],
    write_rows: Callable[[Path, list[dict]], None],
    scripted: Callable[[dict[str, str]], list[str]],
    tmp_path: Path,
) -> None:
    row = {"article": "the cat " * 60, "highlights": "The cat sat .\nThe dog ran ."}
    write_rows(tmp_path / "cnn_dailymail_test.jsonl", [row])
    scorer.block_size = 140
    seen = scripted({"TL;DR:": " The cat sat. The dog ran.\nA bird! And more. And more."})
    # The summary has 8 words, 6 of which are the reference's 6: 2 * 6 / (8 + 6).
    figures = measure("cnn_dailymail", tmp_path).metrics
    assert figures["rouge1"] == pytest.approx(100 * 12 / 14)
    assert figures["rougeL"] == pytest.approx(100 * 12 / 14)
    assert figures["rouge2"] == pytest.approx(100 * 2 * 5 / (7 + 5))
    assert seen[0].startswith("the cat the cat")
    assert len(scorer.tokenizer.encode(seen[0])) <= 40  # leaves room for 100 tokens
    assert sentences("One. Two?  Three!\nFour") == ["One.", "Two?", "Three!", "Four"]


def test_a_context_without_room_for_the_prompt_is_refused(
    measure: Callable[..., Measurement],
    write_rows: Callable[[Path, list[dict]], None],
    tmp_path: Path,
) -> None:
    write_rows(tmp_path / "cnn_dailymail_test.jsonl", [{"article": "a", "highlights": "b"}])
    with pytest.raises(UserError, match="context of 64"):
        measure("cnn_dailymail", tmp_path)


STORY = """By . Ann Lee .

A cat sat on a mat %s

It said "meow"\x85 twice

@highlight

A cat sat .

@highlight

It spoke
"""
# `printf http://a.com/1 | sha1sum`, and so on
URLS = {
    "http://a.com/1": "cb2fa28f38c4637039946f30a5c73765ee1e15e1",
    "http://a.com/2": "a2b1ddb45a4eed63df2c9e82af5db2ec1f0c1328",
    "http://a.com/3": "2349bd273263335a420854d00043b1c4795c8379",
}


def write_stories(folder: Path) -> None:
    for number, (place, name) in enumerate(
        zip(("cnn/stories", "dailymail/stories", "dailymail/stories"), URLS.values(), strict=True)
    ):
        (folder / place).mkdir(parents=True, exist_ok=True)
        (folder / place / f"{name}.story").write_bytes((STORY % number).encode())


def test_stories_are_rows_as_on_the_hub(tmp_path: Path) -> None:
    write_stories(tmp_path)
    rows = [row for _, row in CNN_DAILYMAIL.source.rows(tmp_path)]
    article = 'By . Ann Lee . A cat sat on a mat %s . It said "meow"\x85 twice .'
    assert sorted(row["article"] for row in rows) == [article % n for n in range(3)]
    assert {row["highlights"] for row in rows} == {"A cat sat .\nIt spoke ."}


@pytest.mark.parametrize("folder", ["", "url_lists"])
def test_the_list_selects_the_test_set(tmp_path: Path, folder: str) -> None:
    write_stories(tmp_path)
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / "all_test.txt").write_bytes(b"http://a.com/3\r\nhttp://a.com/1\r\n")
    rows = CNN_DAILYMAIL.source.rows(tmp_path)
    assert [re.findall(r"mat (\d)", row["article"]) for _, row in rows] == [["2"], ["0"]]
    with (tmp_path / folder / "all_test.txt").open("a") as stream:
        stream.write("http://a.com/4\n")
    with pytest.raises(UserError, match=r"1 of the 3 stories .* \(http://a.com/4\)"):
        CNN_DAILYMAIL.source.rows(tmp_path)
    for file in list(tmp_path.rglob("*.story")):
        file.unlink()
    with pytest.raises(UserError, match=r"all_test\.txt needs \*\.story, which"):
        CNN_DAILYMAIL.source.rows(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A cat sat .\n", "has no summary after the line @highlight"),
        ("@highlight\n\nA cat .\n", "has no text before the line @highlight"),
        ("", "has no text before"),
        ("\xff", "is not UTF-8"),
    ],
)
def test_a_bad_story_is_named(tmp_path: Path, text: str, message: str) -> None:
    for name in "abc":
        (tmp_path / f"{name}.story").write_text(STORY)
    (tmp_path / "b.story").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=rf"b\.story {message}"):
        CNN_DAILYMAIL.source.rows(tmp_path)


def test_more_stories_than_the_test_set_need_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_stories(tmp_path)
    monkeypatch.setattr(summarization, "TEST_STORIES", 2)
    with pytest.raises(UserError, match="3 stories, more than the test set's 2; put all_test.txt"):
        CNN_DAILYMAIL.source.rows(tmp_path)
