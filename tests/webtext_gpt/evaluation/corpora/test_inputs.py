"""Names of corpora, and the search for held-out documents in them."""

import json
from pathlib import Path

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.corpora.inputs import open_corpora, read_heldout, scan, short_names

LONG = "The river was high that spring and nobody crossed it after dark."
OTHER = "A letter came on Tuesday, but the aunt refused to read it aloud."
THIRD = "In the end the committee voted against the new road by the lake."
FOOTER = "Please accept all of the cookies so that we know you."


def _write(file: Path, *texts: str) -> str:
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return str(file)


def _scan(tmp_path: Path, corpus: list[str], heldout: list[str]) -> float:
    paths = _write(tmp_path / "web.jsonl", *corpus), _write(tmp_path / "held.jsonl", *heldout)
    return scan(open_corpora([paths[0]], "text", 0.1), read_heldout([paths[1]], "text"))[
        "web"
    ].overlap


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["data/clean.jsonl", "raw/"], ["clean", "raw"]),
        (["a/corpus", "b/corpus"], ["a-corpus", "b-corpus"]),
        (["clean.jsonl", "clean.txt"], ["1-clean", "2-clean"]),
        (["one.jsonl", "Raw", "raw"], ["1-one", "2-Raw", "3-raw"]),
        (["my texts.jsonl", "web/*.txt"], ["my_texts", "web"]),
    ],
)
def test_names_are_short_and_different(paths: list[str], names: list[str]) -> None:
    assert short_names(paths) == names


def test_a_document_is_found_in_other_case_and_wrapping_and_with_additions(tmp_path: Path) -> None:
    hidden = f"{FOOTER}\n\n{LONG.upper()} {OTHER.replace(' ', chr(10))} {FOOTER}"
    with pytest.raises(UserError) as raised:
        _scan(tmp_path, [THIRD, hidden], [THIRD.replace("lake", "sea"), f"{LONG} {OTHER}"])
    message = str(raised.value)
    assert "the corpus web holds text of the held-out set held: 1 document" in message
    assert f"the first {tmp_path}/held.jsonl, document 2" in message


def test_single_common_sentences_are_counted(tmp_path: Path) -> None:
    """One of 101 sentences is below one per cent; two of 101 are above."""
    texts = [f"Sentence number {n} tells of the mill and its {n} wheels." for n in range(101)]
    documents = [" ".join(texts[:51]), " ".join(texts[51:])]
    assert _scan(tmp_path, [f"{THIRD} {texts[3]}"], documents) == pytest.approx(1 / 101)
    with pytest.raises(UserError, match=r"2\.0% of its sentences, most of them in .*document 1;"):
        _scan(tmp_path, [f"{texts[3]} {texts[4]}"], documents)


def test_short_documents_are_compared_as_a_whole(tmp_path: Path) -> None:
    assert _scan(tmp_path, ["Good evening, all."], ["Good morning, all."]) == 0
    with pytest.raises(UserError, match="1 document, the first .*document 1;"):
        _scan(tmp_path, ["good morning -- ALL"], ["Good morning, all."])


def test_texts_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    (tmp_path / "blank.txt").write_text(" \n")
    with pytest.raises(UserError, match="^corpora=.*gone does not exist"):
        open_corpora([str(tmp_path / "gone")], "text", 0.1)
    with pytest.raises(UserError, match="empty.txt is empty; remove it or leave it out of corpora"):
        open_corpora([str(tmp_path / "empty.txt")], "text", 0.1)
    with pytest.raises(UserError, match=r"corpora=.*blank\.txt holds no text"):
        open_corpora([str(tmp_path / "blank.txt")], "text", 0.1)
    with pytest.raises(UserError, match=r"heldout=.*blank\.txt holds no text"):
        read_heldout([str(tmp_path / "blank.txt")], "text")
    with pytest.raises(UserError, match="has a key 'body'.*its keys are 'text'"):
        read_heldout([_write(tmp_path / "rows.jsonl", "a")], "body")
