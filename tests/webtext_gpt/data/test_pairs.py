"""Parallel text: lines that belong together, and clear refusals of files that do not."""

import gzip
from pathlib import Path

import pytest

from webtext_gpt.data.pairs import Pair, ParallelText
from webtext_gpt.errors import UserError


def _written(folder: Path, name: str, text: str | bytes) -> str:
    path = folder / name
    data = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return str(path)


def _all(text: ParallelText) -> tuple[list[Pair], list[int]]:
    training, held = text.splits()
    return sorted(training.pairs + held.pairs, key=lambda pair: pair.line), training.empty


def test_lines_of_two_files_plain_and_compressed_are_pairs(tmp_path: Path) -> None:
    source = _written(tmp_path, "a.en.gz", "one\r\n two \nthree\n")
    target = _written(tmp_path, "a.de", "\ufeffeins\nzwei\ndrei")  # with a mark, without an end
    pairs, empty = _all(ParallelText(source=source, target_file=target))
    assert pairs == [("one", "eins", 1), ("two", "zwei", 2), ("three", "drei", 3)]
    assert empty == []


def test_lines_that_are_empty_on_a_side_are_left_out_and_counted(tmp_path: Path) -> None:
    source = _written(tmp_path, "a.en", "one\n\nthree\n  \nfive\n")
    target = _written(tmp_path, "a.de", "eins\nzwei\n\n \nfünf\n")
    pairs, empty = _all(ParallelText(source=source, target_file=target))
    assert pairs == [("one", "eins", 1), ("five", "fünf", 5)]
    assert empty == [2, 3, 4]


def test_files_of_unequal_length_are_refused_with_the_first_line_that_is_over(
    tmp_path: Path,
) -> None:
    long = _written(tmp_path, "long", "a\nb\nc\nd\n")
    short = _written(tmp_path, "short", "A\nB\n")
    message = r"long has 4 lines and .*short has 2: line 3 of .*long has no translation in .*short"
    with pytest.raises(UserError, match=message):
        ParallelText(source=long, target_file=short).splits()
    with pytest.raises(UserError, match=r"line 3 of .*long has no translation in .*short"):
        ParallelText(source=short, target_file=long).splits()


def test_one_file_of_two_columns(tmp_path: Path) -> None:
    expected = [("one", "eins"), ("two", "zwei")]
    plain = _written(tmp_path, "a.tsv", "one\teins\ntwo\tzwei\n")
    headed = _written(tmp_path, "b.tsv", "id\ttarget\tsource\n1\teins\tone\n2\tzwei\ttwo\n")
    rows = '{"en": "one", "de": "eins"}\n{"en": "two", "de": "zwei"}\n'
    jsonl = _written(tmp_path, "c.jsonl", rows)
    for text in (
        ParallelText(source=plain),
        ParallelText(source=headed),
        ParallelText(source=jsonl, source_key="en", target_key="de"),
    ):
        pairs, empty = _all(text)
        assert ([pair[:2] for pair in pairs], empty) == (expected, [])


@pytest.mark.parametrize(
    ("name", "contents", "message"),
    [
        ("a.tsv", "one\teins\ntwo zwei\n", r"a\.tsv, line 2 has no tab"),
        ("a.txt", "one\n", r"give data\.target=FILE with their translations"),
        ("a.tsv", b"one\t\xff\n", r"a\.tsv, line 1 is not UTF-8: byte 0xff at position 4"),
        ("a.tsv", "\t\n", "leaves no pair of sentences for training"),
        ("a.tsv", "one\teins\n", "leaves no pair of sentences for"),
    ],
)
def test_one_clear_message(tmp_path: Path, name: str, contents: str | bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ParallelText(source=_written(tmp_path, name, contents)).splits()


def test_a_missing_file_is_named_with_its_key(tmp_path: Path) -> None:
    source = _written(tmp_path, "a.en", "one\n")
    with pytest.raises(UserError, match=r"data\.target=nowhere\.de does not exist"):
        ParallelText(source=source, target_file="nowhere.de").splits()
    with pytest.raises(UserError, match=r"data\.val_target=x needs data\.val_source"):
        ParallelText(source=source, target_file=source, val_target="x").splits()


def test_the_held_out_pairs_depend_on_their_text_alone(tmp_path: Path) -> None:
    lines = [f"sentence {n}\tSatz {n}" for n in range(400)]
    there = ParallelText(source=_written(tmp_path, "a.tsv", "\n".join(lines)), val_fraction=0.2)
    back = ParallelText(
        source=_written(tmp_path, "b.tsv", "\n".join(reversed(lines))), val_fraction=0.2
    )
    held = {pair[:2] for pair in there.splits()[1].pairs}
    assert held == {pair[:2] for pair in back.splits()[1].pairs}
    assert 50 < len(held) < 110  # 80 are expected, with a standard deviation of 8
