"""Where benchmarks find their data, and the messages when there is none."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from webtext_gpt.evaluation.benchmark import Measurement
from webtext_gpt.evaluation.data_source import MissingDataError
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
