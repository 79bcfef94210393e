"""Where benchmarks find their data, and the messages when there is none."""

import dataclasses
import gzip
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Measurement
from webtext_gpt.evaluation.data_source import DataSource, MissingDataError
from webtext_gpt.evaluation.registry import BENCHMARKS
from webtext_gpt.evaluation.tasks.winograd import WINOGRAD

ROW = {
    "text": "Mark told Pete about his trip. He should have gone.",
    "pronoun": "He",
    "pronoun_loc": 31,
    "options": ["Mark", "Pete"],
    "label": 1,
}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_missing_data_says_what_to_do(
    measure: Callable[..., Measurement], tmp_path: Path, name: str
) -> None:
    with pytest.raises(MissingDataError, match=r"has none of .*; put one there"):
        measure(name, tmp_path)


def test_one_split_is_read_from_the_hubs_folders(tmp_path: Path) -> None:
    """The hub's Parquet branch has the layout CONFIG/SPLIT/0000.parquet."""
    import datasets

    rows = [ROW, {**ROW, "label": 0}]
    for folder, split, some in (
        ("wsc273", "test", rows),
        ("wsc285", "test", rows[:1]),
        ("wsc273", "train", rows[:1]),
    ):
        path = tmp_path / "hub" / folder / split
        path.mkdir(parents=True)
        datasets.Dataset.from_list(some).to_parquet(path / "0000.parquet")
    source = dataclasses.replace(WINOGRAD.source, hub=str(tmp_path / "hub"))
    assert [row["label"] for _, row in source.rows(None)] == [1, 0]
    assert [row["label"] for _, row in source.rows(None, limit=1)] == [1]
    absent = dataclasses.replace(source, hub=str(tmp_path / "none"))
    with pytest.raises(MissingDataError, match=r"cannot be loaded .* winograd_test.jsonl in it"):
        absent.rows(None)


def test_names_are_found_in_the_folder_of_the_archive_and_gzipped(tmp_path: Path) -> None:
    source = DataSource(("a.txt", "b.txt"), ("text",), folders=("deep/er",))
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "b.txt.gz").write_bytes(gzip.compress(b"text\n"))
    assert source.text(tmp_path) == "text\n"
    (tmp_path / "deep" / "er" / "a.txt").write_text("first\n")
    assert source.text(tmp_path) == "first\n"


def test_text_in_a_published_archive_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "wikitext-2-raw-v1.zip", "w") as archive:
        for split in ("valid", "test", "train"):
            archive.writestr(f"wikitext-2-raw/wiki.{split}.raw", f" \n = {split} = \n")
    assert BENCHMARKS["wikitext2"].source.text(tmp_path) == " \n = test = \n"


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_folder_named_like_the_file_is_said(
    measure: Callable[..., Measurement], tmp_path: Path, name: str
) -> None:
    source = BENCHMARKS[name].source
    folder = tmp_path / (source.originals[0].files[0] if source.originals else source.files[0])
    folder.mkdir()
    with pytest.raises(MissingDataError, match=f"{re.escape(str(folder))} is a folder, not a file"):
        measure(name, tmp_path)


def test_a_line_that_is_no_text_is_refused(
    write_rows: Callable[[Path, list[dict]], None], tmp_path: Path
) -> None:
    write_rows(tmp_path / "ptb_test.jsonl", [{"sentence": "a"}, {"sentence": None}])
    with pytest.raises(UserError, match="line 2: 'sentence' is NoneType, not text"):
        BENCHMARKS["ptb"].source.text(tmp_path)
